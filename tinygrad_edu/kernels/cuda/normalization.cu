// Mean and variance of columns, for batch normalization of the last axis.
//
// No race: each thread of `moments` adds up columns of its own rows, the threads of a block put their numbers together
// behind a barrier, each block writes a place of its own, and `put_together` runs after it, a thread for each column.
// Moments of parts are put together by Chan, Golub and LeVeque's formulae (1979), in an order given by the shapes.

#define COLUMNS 32  // of a block
#define LINES 8     // of threads in a block

struct Moments {
    REAL count, mean, squares;  // squares: the sum of squared deviations from the mean
};

__device__ Moments joined(Moments a, Moments b) {
    const REAL count = a.count + b.count;
    if (count == 0) return a;
    const REAL difference = b.mean - a.mean, share = b.count / count;
    const REAL mean = a.mean * (a.count / count) + b.mean * share;  // and not from a.mean on: one may be infinite
    return {count, mean, a.squares + b.squares + difference * difference * a.count * share};
}

// The moments of each column of x (rows, columns) over the `share` rows of this block, to means and squares
// (parts, columns).
extern "C" __global__ __launch_bounds__(COLUMNS* LINES) void moments(const REAL* x, REAL* means, REAL* squares,
                                                                     long long rows, long long columns,
                                                                     long long share) {
    __shared__ Moments of_lines[LINES][COLUMNS];
    const long long column = blockIdx.x * (long long)COLUMNS + threadIdx.x;
    const long long first = blockIdx.y * share, behind = first + share, stop = behind < rows ? behind : rows;
    REAL total = 0, deviations = 0, mean = 0, count = 0;
    if (column < columns) {
        for (long long row = first + threadIdx.y; row < stop; row += LINES, ++count) total += x[row * columns + column];
        mean = count > 0 ? total / count : 0;
        for (long long row = first + threadIdx.y; row < stop; row += LINES) {  // from the cache
            const REAL difference = x[row * columns + column] - mean;
            deviations += difference * difference;
        }
    }
    of_lines[threadIdx.y][threadIdx.x] = {count, mean, deviations};
    __syncthreads();
    if (threadIdx.y != 0 || column >= columns) return;
    Moments all = of_lines[0][threadIdx.x];
    for (int line = 1; line < LINES; ++line) all = joined(all, of_lines[line][threadIdx.x]);
    means[blockIdx.y * columns + column] = all.mean;
    squares[blockIdx.y * columns + column] = all.squares;
}

// The mean, the variance and 1 / sqrt(variance + epsilon) of each column, from the moments of all parts; the mean twice,
// as a result and as what the gradient reads.
extern "C" __global__ void put_together(const REAL* means, const REAL* squares, REAL* mean, REAL* variance,
                                        REAL* average, REAL* inverse, long long rows, long long columns,
                                        long long share, long long parts, double epsilon) {
    const long long column = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (column >= columns) return;
    Moments all = {0, 0, 0};
    for (long long part = 0; part < parts; ++part) {
        const long long first = part * share, left = rows - first;
        const long long at = part * columns + column;
        all = joined(all, {(REAL)(left < share ? left : share), means[at], squares[at]});
    }
    const REAL spread = all.squares / (REAL)rows;
    mean[column] = average[column] = all.mean;
    variance[column] = spread;
    inverse[column] = (REAL)1 / sqrt(spread + (REAL)epsilon);
}
