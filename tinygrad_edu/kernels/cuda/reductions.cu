// Sums and extremes over the second of three axes: of a part of it in each block.
//
// There is no race: no thread writes what another reads between two barriers, for in shared memory the lower half of
// the lines is written and the upper half read; each element of the result is written by one thread. The order depends
// on shapes alone, so results are the same each time.
//
// A block has x columns times y lines times z rows of the first axis; y is a power of two.
//
// TYPE is that of all elements; START is what a reduction starts from, COMBINE(a, b) what it does.

#define THREADS 256

extern "C" __global__ __launch_bounds__(THREADS) void reduce(const TYPE* x, TYPE* y, long long outer, long long middle,
                                                             long long inner, long long parts) {
    __shared__ TYPE found[THREADS];
    const long long tiles = (inner + blockDim.x - 1) / blockDim.x, share = (middle + parts - 1) / parts;
    const long long column = blockIdx.x % tiles * blockDim.x + threadIdx.x, part = blockIdx.x / tiles % parts;
    const long long row = blockIdx.x / tiles / parts * blockDim.z + threadIdx.z;
    const long long behind = (part + 1) * share, stop = behind < middle ? behind : middle;
    const bool inside = column < inner && row < outer;
    const int at = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    TYPE value = START;
    if (inside)
#pragma unroll 4
        for (long long i = part * share + threadIdx.y; i < stop; i += blockDim.y) {
            const TYPE next = x[(row * middle + i) * inner + column];
            value = COMBINE(value, next);
        }
    found[at] = value;
    for (int half = blockDim.y / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
            const TYPE next = found[at + half * blockDim.x];
            value = COMBINE(value, next);
            found[at] = value;
        }
    }
    if (inside && threadIdx.y == 0) y[(row * parts + part) * inner + column] = value;
}
