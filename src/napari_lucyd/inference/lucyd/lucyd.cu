// One layer of LUCYD for a CUDA device: a convolution with the operations fused into it (see graph.py).
//
// Macros select the layer:
//   FIRST, SECOND    channels of the two inputs, which are concatenated (SECOND may be 0)
//   OUTPUTS          channels computed
//   TAPS_Z, TAPS     taps along Z, and along Y and X
//   STRIDE_Z, STRIDE stride along Z, and along Y and X
//   RELU             1 to replace negative values by 0
//   RESIDUAL         use of another tensor: 0 none, 1 added before the ReLU, 2 added before it after doubling along
//                    all axes (DOUBLED_Z times along Z), 3 added after it, 4 divided by the mean of the channels
//                    plus bias[OUTPUTS]
//   REDUCE           1 to average the channels
//   PART_Z, PART_Y   voxels along Z and Y that a thread computes
//   TRANSPOSED       1 for four taps and stride 2; a thread computes the 2 x 2 x 2 outputs (1 x 2 x 2 if TAPS_Z is 1)
//                    of one input voxel
//   REPEATS          1 to repeat the outermost voxels of the inputs beyond their borders, 0 for zeros there
//
// A tensor is given by the address of voxel (0, 0, 0) of its first channel. Each channel is surrounded by at least one
// voxel of zeros. The lanes of a warp lie along X. All threads use the weights in the same order, so the weights are in
// shared memory: one read of four of them serves 4 * PART_Z * PART_Y multiplications.

struct Tensor {
  float *at;
  long long channel;
  int plane, row;
};

// The voxel that is read at index i of an axis with this number of voxels.
__device__ int held(int i, int size) { return i < 0 ? 0 : i < size ? i : size - 1; }

__device__ float relu(float value) { return RELU ? fmaxf(value, 0.f) : value; }

__device__ void finish(float *sum, const Tensor residual, const Tensor output, const float *bias, int z, int y, int x) {
  const long long place = (long long)z * output.plane + y * output.row + x;
#if RESIDUAL == 2
  const long long other = (long long)(DOUBLED_Z == 2 ? z >> 1 : z) * residual.plane + (y >> 1) * residual.row + (x >> 1);
#else
  const long long other = (long long)z * residual.plane + y * residual.row + x;
#endif
#if REDUCE
  float mean = 0.f;
#pragma unroll
  for (int o = 0; o < OUTPUTS; ++o) mean += relu(sum[o]);
  mean *= 1.f / OUTPUTS;
#if RESIDUAL == 4
  mean = residual.at[other] / (mean + bias[OUTPUTS]);
#endif
  output.at[place] = mean;
#else
#pragma unroll
  for (int o = 0; o < OUTPUTS; ++o) {
    float value = sum[o];
#if RESIDUAL == 1 || RESIDUAL == 2
    value += residual.at[o * residual.channel + other];
#endif
    value = relu(value);
#if RESIDUAL == 3
    value += residual.at[o * residual.channel + other];
#endif
    output.at[o * output.channel + place] = value;
  }
#endif
}

#if !TRANSPOSED

__device__ void add(float (&sum)[PART_Z][PART_Y][OUTPUTS], const Tensor input, int channels, const float *weights, int z, int y, int x, int depth, int height, int width) {
#if REPEATS
  const float *corner = input.at;
  long long at_z[STRIDE_Z * (PART_Z - 1) + TAPS_Z];
  int at_y[STRIDE * (PART_Y - 1) + TAPS], at_x[TAPS];
#pragma unroll
  for (int i = 0; i < STRIDE_Z * (PART_Z - 1) + TAPS_Z; ++i) at_z[i] = (long long)held(STRIDE_Z * z - TAPS_Z / 2 + i, depth) * input.plane;
#pragma unroll
  for (int j = 0; j < STRIDE * (PART_Y - 1) + TAPS; ++j) at_y[j] = held(STRIDE * y - TAPS / 2 + j, height) * input.row;
#pragma unroll
  for (int k = 0; k < TAPS; ++k) at_x[k] = held(STRIDE * x - TAPS / 2 + k, width);
#else
  const float *corner = input.at + (long long)(STRIDE_Z * z - TAPS_Z / 2) * input.plane + (STRIDE * y - TAPS / 2) * input.row + STRIDE * x - TAPS / 2;
#endif
#pragma unroll 1
  for (int c = 0; c < channels; ++c) {
    float seen[STRIDE_Z * (PART_Z - 1) + TAPS_Z][STRIDE * (PART_Y - 1) + TAPS][TAPS];
#pragma unroll
    for (int i = 0; i < STRIDE_Z * (PART_Z - 1) + TAPS_Z; ++i)
#pragma unroll
      for (int j = 0; j < STRIDE * (PART_Y - 1) + TAPS; ++j)
#pragma unroll
        for (int k = 0; k < TAPS; ++k)
#if REPEATS
          seen[i][j][k] = corner[at_z[i] + at_y[j] + at_x[k]];
#else
          seen[i][j][k] = corner[(long long)i * input.plane + j * input.row + k];
#endif
#pragma unroll
    for (int i = 0; i < TAPS_Z; ++i)
#pragma unroll
      for (int j = 0; j < TAPS; ++j)
#pragma unroll
        for (int k = 0; k < TAPS; ++k) {
          float weight[OUTPUTS];
#pragma unroll
          for (int o = 0; o < OUTPUTS; ++o) weight[o] = weights[((i * TAPS + j) * TAPS + k) * OUTPUTS + o];
#pragma unroll
          for (int p = 0; p < PART_Z; ++p)
#pragma unroll
            for (int q = 0; q < PART_Y; ++q)
#pragma unroll
              for (int o = 0; o < OUTPUTS; ++o) sum[p][q][o] += seen[STRIDE_Z * p + i][STRIDE * q + j][k] * weight[o];
        }
    corner += input.channel;
    weights += TAPS_Z * TAPS * TAPS * OUTPUTS;
  }
}

#endif

extern "C" __global__ void __launch_bounds__(THREADS) layer(
    const Tensor first, const Tensor second, const Tensor residual, const Tensor output, const float *given,
    const float *bias, int z0, int z1, int y0, int y1, int x0, int x1, int depth, int height, int width) {
  // depth, height, width: size of the inputs.
  const int lane = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int lanes = blockDim.x * blockDim.y * blockDim.z;
#if TRANSPOSED
  __shared__ __align__(16) float weights[4 * TAPS_Z * FIRST * TAPS_Z * 4 * OUTPUTS];
#else
  __shared__ __align__(16) float weights[(FIRST + SECOND) * TAPS_Z * TAPS * TAPS * OUTPUTS];
#endif
  for (int i = lane; i < (int)(sizeof(weights) / sizeof(float)); i += lanes) weights[i] = given[i];
  __syncthreads();
  const int x = x0 + (int)(blockIdx.x * blockDim.x + threadIdx.x);
#if TRANSPOSED
  // Voxel 2i of the result takes i - 1 and i of the input, voxel 2i + 1 takes i and i + 1.
  const int y = y0 + (int)(blockIdx.y * blockDim.y + threadIdx.y);
  const int z = z0 + (int)(blockIdx.z * blockDim.z + threadIdx.z);
  if (x >= x1 || y >= y1 || z >= z1) return;
  float sum[TAPS_Z][2][2][OUTPUTS];
  for (int p = 0; p < TAPS_Z; ++p)
    for (int q = 0; q < 4; ++q)
      for (int o = 0; o < OUTPUTS; ++o) sum[p][q / 2][q % 2][o] = bias[o];
#if REPEATS
  const float *centre = first.at;
#else
  const float *centre = first.at + (long long)z * first.plane + y * first.row + x;
#endif
#pragma unroll 1
  for (int c = 0; c < FIRST; ++c) {
    float seen[TAPS_Z == 2 ? 3 : 1][3][3];
#pragma unroll
    for (int i = 0; i < (TAPS_Z == 2 ? 3 : 1); ++i)
#pragma unroll
      for (int j = 0; j < 3; ++j)
#pragma unroll
        for (int k = 0; k < 3; ++k)
#if REPEATS
          seen[i][j][k] = centre[(long long)held(z + (TAPS_Z == 2 ? i - 1 : 0), depth) * first.plane + held(y + j - 1, height) * first.row + held(x + k - 1, width)];
#else
          seen[i][j][k] = centre[(long long)(TAPS_Z == 2 ? i - 1 : 0) * first.plane + (j - 1) * first.row + k - 1];
#endif
#pragma unroll
    for (int p = 0; p < TAPS_Z; ++p)
#pragma unroll
      for (int q = 0; q < 2; ++q)
#pragma unroll
        for (int r = 0; r < 2; ++r)
#pragma unroll
          for (int i = 0; i < TAPS_Z; ++i)
#pragma unroll
            for (int j = 0; j < 2; ++j)
#pragma unroll
              for (int k = 0; k < 2; ++k)
#pragma unroll
                for (int o = 0; o < OUTPUTS; ++o)
                  sum[p][q][r][o] += seen[p + i][q + j][r + k] *
                                     weights[(((((p * 2 + q) * 2 + r) * FIRST + c) * TAPS_Z + i) * 4 + j * 2 + k) * OUTPUTS + o];
    centre += first.channel;
  }
  for (int p = 0; p < TAPS_Z; ++p)
    for (int q = 0; q < 4; ++q) finish(sum[p][q / 2][q % 2], residual, output, bias, TAPS_Z * z + p, 2 * y + q / 2, 2 * x + q % 2);
#else
  const int y = y0 + PART_Y * (int)(blockIdx.y * blockDim.y + threadIdx.y);
  const int z = z0 + PART_Z * (int)(blockIdx.z * blockDim.z + threadIdx.z);
  if (x >= x1 || y >= y1 || z >= z1) return;
  float sum[PART_Z][PART_Y][OUTPUTS];
#pragma unroll
  for (int p = 0; p < PART_Z; ++p)
#pragma unroll
    for (int q = 0; q < PART_Y; ++q)
#pragma unroll
      for (int o = 0; o < OUTPUTS; ++o) sum[p][q][o] = bias[o];
  add(sum, first, FIRST, weights, z, y, x, depth, height, width);
#if SECOND
  add(sum, second, SECOND, weights + FIRST * TAPS_Z * TAPS * TAPS * OUTPUTS, z, y, x, depth, height, width);
#endif
#pragma unroll
  for (int p = 0; p < PART_Z; ++p)
#pragma unroll
    for (int q = 0; q < PART_Y; ++q)
      if (z + p < z1 && y + q < y1) finish(sum[p][q], residual, output, bias, z + p, y + q, x);
#endif
}
