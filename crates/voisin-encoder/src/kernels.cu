// What networks and searches need on a GPU beside products of matrices. Compiled when a GPU is first used; bfloat16 and half
// are read and written by their bits, because the compiler has no headers then. Images have their channels next to each other:
// [n][height][width][channels].

typedef unsigned int uint;
typedef unsigned short bf16;
struct half { unsigned short bits; };

__device__ inline float number(float x) { return x; }
__device__ inline float number(bf16 x) { return __uint_as_float((uint)x << 16); }
__device__ inline float number(half x) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
    return value;
}
__device__ inline void store(float *to, float x) { *to = x; }
__device__ inline void store(bf16 *to, float x) {
    uint bits = __float_as_uint(x);
    // To the nearest, ties to even; NaN stays one.
    *to = x == x ? (bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16) : (bf16)0x7fff;
}

// What each output of a convolution is a product with: [n][out_height][out_width][kernel_height][kernel_width][channels], zero
// beside the image. A block writes one row of outputs; T holds one channel or several.
template <typename T>
__device__ void columns(const T *x, T *out, uint height, uint width, uint channels, uint out_height, uint out_width,
                        uint kernel_height, uint kernel_width, uint above, uint left) {
    uint image = blockIdx.x / out_height, row = blockIdx.x % out_height;
    uint run = kernel_height * kernel_width * channels;
    const T *from = x + (size_t)image * height * width * channels;
    T *to = out + (size_t)blockIdx.x * out_width * run;
    for (uint i = threadIdx.x; i < out_width * run; i += blockDim.x) {
        uint column = i / run, tap = i % run / channels, channel = i % channels;
        // Above and left of the image these wrap around and are too large.
        uint y = row + tap / kernel_width - above, z = column + tap % kernel_width - left;
        T value = {};
        if (y < height && z < width) value = from[(y * width + z) * channels + channel];
        to[i] = value;
    }
}

// The largest of each pool of second · f(first · x + bias) + shift, where f is ReLU or nothing.
template <typename T>
__device__ void finish(const T *x, const float *parameters, T *out, uint total, uint height, uint width, uint channels,
                       uint pool_height, uint pool_width, uint relu) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    uint out_width = width / pool_width, out_height = height / pool_height;
    uint channel = i % channels, pixel = i / channels;
    uint column = pixel % out_width, row = pixel / out_width % out_height, image = pixel / out_width / out_height;
    float first = parameters[channel], bias = parameters[channels + channel];
    float second = parameters[2 * channels + channel], shift = parameters[3 * channels + channel];
    const T *from = x + (((size_t)image * height + row * pool_height) * width + column * pool_width) * channels + channel;
    float largest = -__int_as_float(0x7f800000);
    for (uint y = 0; y < pool_height; y++)
        for (uint z = 0; z < pool_width; z++) {
            float value = first * number(from[(y * width + z) * channels]) + bias;
            if (relu && value < 0) value = 0;
            value = second * value + shift;
            // NaN is kept.
            if (value > largest || value != value) largest = value;
        }
    store(out + i, largest);
}

#define COLUMNS(name, T)                                                                                                    \
    extern "C" __global__ void name(const T *x, T *out, uint height, uint width, uint channels, uint out_height,            \
                                    uint out_width, uint kernel_height, uint kernel_width, uint above, uint left) {         \
        columns(x, out, height, width, channels, out_height, out_width, kernel_height, kernel_width, above, left);          \
    }
COLUMNS(columns_2, unsigned short)
COLUMNS(columns_4, uint)
COLUMNS(columns_16, uint4)

#define FINISH(name, T)                                                                                                     \
    extern "C" __global__ void name(const T *x, const float *parameters, T *out, uint total, uint height, uint width,       \
                                    uint channels, uint pool_height, uint pool_width, uint relu) {                          \
        finish(x, parameters, out, total, height, width, channels, pool_height, pool_width, relu);                          \
    }
FINISH(finish_f32, float)
FINISH(finish_bf16, bf16)

// The largest number of each group of a row: group i holds the columns i, i + groups, i + 2 · groups ...
template <typename T>
__device__ void maxima(const T *x, T *out, uint columns, uint groups, uint width) {
    uint group = blockIdx.x * blockDim.x + threadIdx.x;
    if (group >= groups) return;
    const T *from = x + (size_t)blockIdx.y * columns + group;
    T largest = from[0];
    for (uint i = 1; i < width; i++) {
        T value = from[(size_t)i * groups];
        if (number(value) > number(largest)) largest = value;
    }
    out[(size_t)blockIdx.y * groups + group] = largest;
}

extern "C" __global__ void maxima_f16(const half *x, half *out, uint columns, uint groups, uint width) {
    maxima(x, out, columns, groups, width);
}
