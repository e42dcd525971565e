// Sums of rows with the same number, in the order of the rows: the gradient of a table.
//
// The numbers are sorted together with their positions: CHUNK of them by each block in shared memory, then each of
// these finds its place among all by a binary search in every chunk, which takes count^2 / CHUNK * 10 steps: 3 million
// for 16,384 numbers. Of the sorted rows each block adds up SHARE, so that a number that comes often is as fast as
// others. A run of the same number that reaches beyond its share leaves its first part in the table and the others in
// `parts`, which the last kernel adds.
//
// No race: each place of shared memory is read behind a barrier that follows the write; places in `order` differ, for
// no two keys are equal; a run's sum is written by the thread of its column in the block of its first row, zeros where
// no row belongs before that, and what crosses shares is added to it by the one block of its first share, afterwards.
// The order of each sum is given by the numbers, so it is the same each time.

#define CHUNK 1024
#define SHARE 64    // rows
#define COLUMNS 32  // of a block
#define LINES 8     // of threads, in `add_parts`

typedef unsigned long long Key;  // a number, and in the lower half its position

// Sorts each chunk (bitonic, Batcher 1968). Negative numbers count from the end; those that no row has stand for the
// first or the last one, as in the loops that read rows.
extern "C" __global__ __launch_bounds__(CHUNK / 2) void sort_chunks(const ID* ids, Key* keys, long long count,
                                                                    long long rows) {
    __shared__ Key chunk[CHUNK];
    const long long first = blockIdx.x * (long long)CHUNK;
    for (int i = threadIdx.x; i < CHUNK; i += CHUNK / 2) {
        long long row = 0;
        if (first + i < count) row = (long long)ids[first + i];
        if (row < 0) row += rows;
        row = row < 0 ? 0 : row < rows ? row : rows - 1;
        chunk[i] = first + i < count ? (Key)row << 32 | (Key)(first + i) : ~0ull;
    }
    for (int size = 2; size <= CHUNK; size *= 2)
        for (int step = size / 2; step; step /= 2) {
            __syncthreads();
            const int i = 2 * threadIdx.x - (threadIdx.x & (step - 1));
            const Key a = chunk[i], b = chunk[i + step];
            if ((a > b) == !(i & size)) {
                chunk[i] = b;
                chunk[i + step] = a;
            }
        }
    __syncthreads();
    for (int i = threadIdx.x; i < CHUNK; i += CHUNK / 2)
        if (first + i < count) keys[first + i] = chunk[i];
}

// All keys in their order: the place of each is the number of smaller ones in all chunks.
extern "C" __global__ void merge_chunks(const Key* keys, Key* order, long long count) {
    __shared__ Key chunk[CHUNK];
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    const Key key = i < count ? keys[i] : 0;
    long long place = 0;
    for (long long first = 0; first < count; first += CHUNK) {
        __syncthreads();
        for (int j = threadIdx.x; j < CHUNK; j += blockDim.x) chunk[j] = first + j < count ? keys[first + j] : ~0ull;
        __syncthreads();
        int smaller = 0;
        for (int step = CHUNK / 2; step; step /= 2)
            if (chunk[smaller + step - 1] < key) smaller += step;
        place += smaller + (chunk[smaller] < key);
    }
    if (i < count) order[place] = key;
}

extern "C" __global__ void clear(REAL* y, long long size) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < size) y[i] = 0;
}

// The sums of each share: of runs that begin in it to y, of one that began before to the share's row of parts.
extern "C" __global__ __launch_bounds__(COLUMNS) void add_shares(const REAL* g, const Key* order, REAL* y, REAL* parts,
                                                                 long long count, long long columns) {
    __shared__ Key keys[SHARE + 2];  // with the one before and the one behind
    const long long first = blockIdx.x * (long long)SHARE;
    const long long column = blockIdx.y * (long long)COLUMNS + threadIdx.x;
    const int size = count - first < SHARE ? count - first : SHARE;
    for (int i = threadIdx.x; i < size + 2; i += COLUMNS) {
        const long long at = first + i - 1;
        keys[i] = at >= 0 && at < count ? order[at] : ~0ull;
    }
    __syncthreads();
    if (column >= columns) return;
    const unsigned before = keys[0] >> 32;
    REAL sum = 0;
#pragma unroll 4
    for (int i = 1; i <= size; ++i) {
        const unsigned row = keys[i] >> 32, next = keys[i + 1] >> 32;
        sum += g[(keys[i] & 0xffffffff) * columns + column];
        if (i == size || row != next) {
            if (row == before) parts[blockIdx.x * columns + column] = sum;
            else y[row * columns + column] = sum;
            sum = 0;
        }
    }
}

// Adds to the sum of a run that begins in this share and reaches beyond it what the next shares have of it.
extern "C" __global__ __launch_bounds__(COLUMNS* LINES) void add_parts(const Key* order, const REAL* parts, REAL* y,
                                                                       long long count, long long columns) {
    __shared__ REAL sums[LINES][COLUMNS];
    const long long first = blockIdx.x * (long long)SHARE, behind = first + SHARE;
    const long long column = blockIdx.y * (long long)COLUMNS + threadIdx.x;
    if (behind >= count) return;
    const unsigned row = order[behind] >> 32;
    const bool begins = first == 0 || order[first - 1] >> 32 != row;
    if (order[behind - 1] >> 32 != row || !begins) return;  // the same for all threads
    REAL sum = 0;
    if (column < columns)
        for (long long at = behind + threadIdx.y * SHARE; at < count && order[at] >> 32 == row; at += LINES * SHARE)
            sum += parts[at / SHARE * columns + column];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || column >= columns) return;
    for (int line = 1; line < LINES; ++line) sum += sums[line][threadIdx.x];
    y[row * columns + column] += sum;
}
