// Deconvolves every image of a folder, several at once:
//     nextflow run main.nf --images 'images/*.tif' --options '--blur-sigma 1.5'
// --options are those of `lucyd deconvolve`.
params.images = 'images/*.tif'
params.restored = 'restored'
params.options = ''

process DECONVOLVE {
    tag "${image.name}"
    cpus 2
    memory '4 GB'
    publishDir params.restored, mode: 'copy'

    input:
    path image

    output:
    path "${image.baseName}.restored.ome.tif"

    script:
    """
    export OMP_NUM_THREADS=${task.cpus}
    lucyd deconvolve '${image}' -o '${image.baseName}.restored.ome.tif' ${params.options}
    """
}

workflow {
    DECONVOLVE(Channel.fromPath(params.images, checkIfExists: true))
}
