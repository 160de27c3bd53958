// Kernels for networks and searches on a GPU, besides matrix products. Compiled when a GPU is first used; bfloat16 and
// half are read and written by their bits, because the compiler has no headers then. Images have their channels next to
// each other: [n][height][width][channels].

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
    // To the nearest, ties to even; NaN stays NaN.
    *to = x == x ? (bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16) : (bf16)0x7fff;
}

// The im2col rows of a convolution: [n][out_height][out_width][kernel_height][kernel_width][channels], zero beside the
// image. A block writes one row of outputs; T holds one channel or several.
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

// Max pooling of second · f(first · x + bias) + shift, where f is ReLU or nothing.
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

// The nearest vectors of a query: those with the largest products in half precision, ranked by their products in float.
// A block computes one query. Products of unit vectors are from -1 to 1, and are distinguished in steps of 1/2048.
#define LEVELS 4096
#define THREADS 1024
#define KEPT 2048  // at most, of those that are ranked

__device__ inline uint level(half product) {
    return (uint)fminf(fmaxf(rintf(number(product) * 2048.f) + 2047.f, 0.f), LEVELS - 1.f);
}

__device__ inline float product(float a, float b) { return a * b; }
__device__ inline float product(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }

// A lane's part of the product of two vectors; T holds one number or four.
template <typename T>
__device__ float part(const float *a, const float *b, uint dimension, uint lane) {
    const T *x = (const T *)a, *y = (const T *)b;
    float sum = 0;
#pragma unroll 4
    for (uint i = lane; i < dimension * sizeof(float) / sizeof(T); i += 32) sum += product(x[i], y[i]);
    return sum;
}

// The sum of a number of each thread and of all threads before it.
__device__ uint running_sum(uint mine, uint *totals) {
    uint lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (uint step = 1; step < 32; step *= 2) {
        uint other = __shfl_up_sync(~0u, mine, step);
        if (lane >= step) mine += other;
    }
    if (lane == 31) totals[warp] = mine;
    __syncthreads();
    for (uint i = 0; i < warp; i++) mine += totals[i];
    return mine;
}

// Passes on the n columns of a row, each with the level of its product.
template <typename F>
__device__ inline void each_column(const half *row, uint n, F each) {
    for (uint at = 8 * threadIdx.x; at < n; at += 8 * THREADS) {
        uint4 packed = *(const uint4 *)(row + at);
        const half *eight = (const half *)&packed;
#pragma unroll
        for (uint i = 0; i < 8; i++)
            if (at + i < n) each(at + i, level(eight[i]));
    }
}

// products: [queries][stride], the first n of a row count, stride is a multiple of 8. out: [queries][k][2], the columns
// and the bits of the products in float. 1 <= k <= wanted <= KEPT / 2, wanted <= n.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    nearest(const half *products, const float *vectors, const float *questions, uint *out, uint stride, uint n, uint dimension,
            uint wanted, uint k) {
    __shared__ uint counts[LEVELS], ids[KEPT], totals[THREADS / 32], edge, above, found;
    float *scores = (float *)counts;  // which are not looked at any more then
    uint thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const half *row = products + (size_t)blockIdx.x * stride;

    // The number of products of each level, and so the lowest level that is ranked.
    for (uint i = thread; i < LEVELS; i += THREADS) counts[i] = 0;
    if (thread == 0) found = 0;
    __syncthreads();
    each_column(row, n, [&](uint, uint level) { atomicAdd(counts + level, 1); });
    __syncthreads();
    const uint run = LEVELS / THREADS;
    uint highest = LEVELS - 1 - run * thread, mine = 0;
    for (uint i = 0; i < run; i++) mine += counts[highest - i];
    uint sum = running_sum(mine, totals) - mine;
    if (sum < wanted && sum + mine >= wanted) {
        uint at = highest;
        while (sum + counts[at] < wanted) sum += counts[at--];
        edge = at;
        above = sum;
    }
    __syncthreads();

    // Their columns.
    each_column(row, n, [&](uint column, uint level) {
        if (level < edge) return;
        uint place = atomicAdd(&found, 1);
        if (place < KEPT) ids[place] = column;
    });
    __syncthreads();
    uint kept = min(found, KEPT);
    if (found > KEPT && warp == 0) {
        // If there are too many: the first columns of the lowest level, in any order of the threads.
        uint room = KEPT - above, to = 0;
        for (uint start = 0; start < n; start += 32) {
            uint at = start + lane, here = at < n ? level(row[at]) : 0, before = (1u << lane) - 1;
            uint ties = __ballot_sync(~0u, at < n && here == edge);
            bool keep = at < n && (here > edge || (here == edge && __popc(ties & before) < room));
            uint keeping = __ballot_sync(~0u, keep);
            if (keep) ids[to + __popc(keeping & before)] = at;
            to += __popc(keeping);
            room -= min(room, __popc(ties));
        }
    }
    __syncthreads();

    // Their products in float; NaN is the least.
    const float *question = questions + (size_t)blockIdx.x * dimension;
    for (uint i = warp; i < kept; i += THREADS / 32) {
        const float *vector = vectors + (size_t)ids[i] * dimension;
        float sum = dimension % 4 ? part<float>(vector, question, dimension, lane) : part<float4>(vector, question, dimension, lane);
        for (uint step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
        if (lane == 0) scores[i] = sum == sum ? sum : -__int_as_float(0x7f800000);
    }
    __syncthreads();

    // A rank is the number of better ones.
    for (uint i = thread; i < kept; i += THREADS) {
        float score = scores[i];
        uint id = ids[i], place = 0;
        for (uint j = 0; j < kept && place < k; j++) place += scores[j] > score || (scores[j] == score && ids[j] < id);
        if (place < k) {
            uint *to = out + 2 * ((size_t)blockIdx.x * k + place);
            to[0] = id;
            to[1] = __float_as_uint(score);
        }
    }
}
