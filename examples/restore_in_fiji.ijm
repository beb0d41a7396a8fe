// Restores a stack in Fiji, by deepImageJ and a package that napari-lucyd exported. In a terminal, once:
//
//   lucyd export lucyd -o lucyd.zip --blur-sigma 2.5,1.3,1.3
//
// Unpack lucyd.zip into a folder. Then open this macro in Fiji, press Run, and choose the folder, a stack, and a
// folder for the results. Other macros give the three: runMacro("restore_in_fiji.ijm", "MODEL,STACK,RESULTS").

// The output of the model that is kept, and the smallest image along X and Y that the model takes.
OUTPUT = "output";
LEAST = 8;
// deepImageJ names a result after its image, up to the first space, and the output.
INPUT = "lucyd-input";

argument = getArgument();
if (argument == "") {
    model = getDirectory("Choose the folder of the unpacked model");
    stack = File.openDialog("Choose a stack");
    results = getDirectory("Choose a folder for the results");
} else {
    paths = split(argument, ",");
    if (paths.length != 3) exit("The macro got " + paths.length + " paths; give MODEL,STACK,RESULTS.");
    model = paths[0];
    stack = paths[1];
    results = paths[2];
}
if (!File.exists(model + File.separator + "rdf.yaml"))
    exit("There is no rdf.yaml in " + model + ". Unpack the exported package there.");

setBatchMode(true);
open(stack);
title = getTitle();
saved = results + File.separator + File.getNameWithoutExtension(stack) + "-restored.tif";
if (File.exists(saved)) exit(saved + " exists. Move it away, or choose another folder.");
getDimensions(width, height, channels, slices, frames);
if (channels > 1 || frames > 1)
    exit(title + " has " + channels + " channels and " + frames + " times. Save one of them as a stack by itself.");
if (width < LEAST || height < LEAST)
    exit(title + " has " + width + " x " + height + " pixels; the model needs at least " + LEAST + " x " + LEAST + ".");
getVoxelSize(voxelWidth, voxelHeight, voxelDepth, unit);

// The model takes float32.
run("32-bit");
prepared = results + File.separator + INPUT + ".tif";
saveAs("Tiff", prepared);
close();
run("DeepImageJ Run", "model_path=[" + model + "] input_path=[" + prepared + "] output_folder=[" + results + "] display_output=null");

restored = results + File.separator + INPUT + "_" + OUTPUT + ".tif";
if (!File.exists(restored)) exit("deepImageJ wrote no " + restored + ". Its messages are in Window > Console.");
open(restored);
setVoxelSize(voxelWidth, voxelHeight, voxelDepth, unit);
resetMinAndMax();
saveAs("Tiff", saved);
setBatchMode("exit and display");
print("Saved " + saved);
