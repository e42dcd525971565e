// Attention and its gradient in tiles, without the scores in memory (Dao, "FlashAttention-2", 2023).
//
// A block of 16 x 8 threads takes ROWS queries (of_keys: keys) of one matrix, which stay in shared memory, and goes
// through all others, COLUMNS at a time. A thread holds every 8th row by every 16th column of the scores, and of those
// rows of the results every 16th pack of numbers. So each 16 bytes that it reads from shared memory are for 4 to 16
// multiplications; tiles are as large as 48 KB of static shared memory and registers for several blocks allow, which
// is why depth and features share one tile, filled one after the other. Rows in shared memory are 16 bytes longer than
// DEPTH, so that 8 neighbours that read the same pack of 8 rows do so from different banks.
//
// No race: each element of a result belongs to one block and one thread of it, and there is a barrier before shared
// memory is read and one before it is overwritten. The order of each sum is given by the shapes.
//
// Defined outside: REAL; MASK, bool or REAL; DEPTH, that of matrices as padded with zeros; ROWS and COLUMNS of tiles,
// GRADIENT_ROWS and GRADIENT_COLUMNS of the gradient's. Steps are counted in 32 bits: of 2^30 there are too many pairs.

constexpr int ACROSS = 16, DOWN = 8, THREADS = ACROSS * DOWN;
constexpr int PACK = 16 / sizeof(REAL), LENGTH = DEPTH + PACK;
constexpr int EACH = DEPTH / ACROSS;             // of a row of results, in each thread
constexpr int WIDE = EACH < PACK ? EACH : PACK;  // of these side by side
constexpr unsigned ALL = 0xffffffffu;
#define INFINITE ((REAL)__longlong_as_double(0x7ff0000000000000LL))
// The matrices of a stack along two axes: so many elements apart, and their rows
#define STACK(name) long long name##_far, long long name##_near, long long name##_row
#define MATRIX(name) (name + far * name##_far + near * name##_near)

template <int N> struct alignas(sizeof(REAL) * N) Pack { REAL at[N]; };

__device__ float product_plus(float a, float b, float c) { return fmaf(a, b, c); }
__device__ double product_plus(double a, double b, double c) { return fma(a, b, c); }

__device__ REAL hidden(REAL score, bool seen) { return seen ? score : -INFINITE; }
__device__ REAL hidden(REAL score, REAL added) { return score + added; }

__device__ bool is_wide(const REAL* start, long long row, int columns) {
    return (size_t)start % 16 == 0 && row % PACK == 0 && columns % PACK == 0;
}

template <int ROWS_, int N>
__device__ void stage_packs(REAL (*to)[LENGTH], const REAL* from, long long row, int rows, int columns) {
    constexpr int PACKS = DEPTH / N;
    for (int i = threadIdx.y * ACROSS + threadIdx.x; i < ROWS_ * PACKS; i += THREADS) {
        const int r = i / PACKS, c = i % PACKS * N;
        Pack<N> found = {};
        if (r < rows && c < columns) found = *(const Pack<N>*)(from + r * row + c);
        *(Pack<N>*)&to[r][c] = found;
    }
}

// A tile of ROWS_ x DEPTH from a matrix of so many rows and columns, with zeros beyond.
template <int ROWS_>
__device__ void stage(REAL (*to)[LENGTH], const REAL* from, long long row, int rows, int columns) {
    if (is_wide(from, row, columns)) stage_packs<ROWS_, PACK>(to, from, row, rows, columns);
    else stage_packs<ROWS_, 1>(to, from, row, rows, columns);
}

// sums += a @ b.T
template <int R, int C>
__device__ void add_products(REAL (&sums)[R][C], const REAL (*a)[LENGTH], const REAL (*b)[LENGTH]) {
#pragma unroll 4
    for (int d = 0; d < DEPTH; d += PACK) {
        Pack<PACK> right[C];
#pragma unroll
        for (int c = 0; c < C; ++c) right[c] = *(const Pack<PACK>*)&b[threadIdx.x + ACROSS * c][d];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const Pack<PACK> left = *(const Pack<PACK>*)&a[threadIdx.y + DOWN * r][d];
#pragma unroll
            for (int c = 0; c < C; ++c)
#pragma unroll
                for (int e = 0; e < PACK; ++e) sums[r][c] = product_plus(left.at[e], right[c].at[e], sums[r][c]);
        }
    }
}

// sums += shares @ b
template <int R, int SHARES>
__device__ void add_rows(REAL (&sums)[R][EACH], const REAL (*shares)[SHARES], const REAL (*b)[LENGTH]) {
#pragma unroll 2
    for (int j = 0; j < SHARES - PACK; j += PACK) {
        Pack<PACK> left[R];
#pragma unroll
        for (int r = 0; r < R; ++r) left[r] = *(const Pack<PACK>*)&shares[threadIdx.y + DOWN * r][j];
#pragma unroll
        for (int e = 0; e < PACK; ++e)
#pragma unroll
            for (int p = 0; p < EACH; p += WIDE) {
                const Pack<WIDE> right = *(const Pack<WIDE>*)&b[j + e][threadIdx.x * WIDE + ACROSS * p];
#pragma unroll
                for (int r = 0; r < R; ++r)
#pragma unroll
                    for (int w = 0; w < WIDE; ++w)
                        sums[r][p + w] = product_plus(left[r].at[e], right.at[w], sums[r][p + w]);
            }
    }
}

// Writes a tile of results, each row times its factor, to a matrix of so many rows and columns.
template <int R>
__device__ void put(REAL* to, long long row, int rows, int columns, REAL (&sums)[R][EACH], const REAL (&factors)[R]) {
    const bool wide = is_wide(to, row, columns);
#pragma unroll
    for (int r = 0; r < R; ++r) {
        const int i = threadIdx.y + DOWN * r;
#pragma unroll
        for (int p = 0; p < EACH; p += WIDE) {
            const int first = threadIdx.x * WIDE + ACROSS * p;
            REAL* at = to + i * row + first;
            Pack<WIDE> made;
#pragma unroll
            for (int w = 0; w < WIDE; ++w) made.at[w] = sums[r][p + w] * factors[r];
            if (i < rows && first < columns && wide) *(Pack<WIDE>*)at = made;
#pragma unroll
            for (int w = 0; w < WIDE; ++w)
                if (i < rows && first + w < columns && !wide) at[w] = made.at[w];
        }
    }
}

struct Scores {
    const MASK* mask;  // or null
    long long row, column;
    int queries, keys, ahead;  // how far before its own number the last key is that a query sees
    REAL scale;

    __device__ Scores(const MASK* mask, long long row, long long column, int queries, int keys, bool causal, REAL scale)
        : mask(mask), row(row), column(column), queries(queries), keys(keys), ahead(causal ? keys - queries : keys),
          scale(scale) {}

    __device__ REAL of(REAL product, int query, int key) const {
        if (query >= queries || key >= keys || key - query > ahead) return -INFINITE;
        const REAL score = product * scale;
        return mask ? hidden(score, mask[query * row + key * column]) : score;
    }

    // The first key behind those that queries below `stop` see.
    __device__ int seen(int stop) const { return max(0, min(keys, stop + ahead)); }
};

// softmax(q @ k.T * scale) @ v, and the logarithms of the sums of softmax, infinite where a query sees no key. While
// these sums grow they are scaled by the largest score so far; a largest score that is infinite counts as 0.
extern "C" __global__ __launch_bounds__(THREADS) void attention(
    const REAL* q, const REAL* k, const REAL* v, const MASK* mask, REAL* y, REAL* logs, STACK(q), STACK(k), STACK(v),
    STACK(y), STACK(mask), long long mask_column, long long queries, long long keys, long long depth,
    long long features, long long inner, long long causal, double scale) {
    constexpr int R = ROWS / DOWN, C = COLUMNS / ACROSS;
    alignas(16) __shared__ REAL mine[ROWS][LENGTH], other[COLUMNS][LENGTH], shares[ROWS][COLUMNS + PACK];
    const long long tiles = (queries + ROWS - 1) / ROWS, stack = blockIdx.x / tiles;
    const long long far = stack / inner, near = stack % inner;
    const int first = (tiles - 1 - blockIdx.x % tiles) * ROWS;  // those first that see most
    const Scores scores_of(mask ? MATRIX(mask) : mask, mask_row, mask_column, queries, keys, causal, scale);
    const REAL *key = MATRIX(k), *value = MATRIX(v);
    REAL most[R], total[R] = {}, sums[R][EACH] = {};  // total: of this thread's columns
#pragma unroll
    for (int r = 0; r < R; ++r) most[r] = -INFINITE;
    stage<ROWS>(mine, MATRIX(q) + first * q_row, q_row, queries - first, depth);
    const int stop = scores_of.seen(first + ROWS);
    for (int at = 0; at < stop; at += COLUMNS) {
        __syncthreads();
        stage<COLUMNS>(other, key + at * k_row, k_row, keys - at, depth);
        __syncthreads();
        REAL scores[R][C] = {};
        add_products(scores, mine, other);
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int i = threadIdx.y + DOWN * r;
            REAL largest = most[r];
#pragma unroll
            for (int c = 0; c < C; ++c) {
                scores[r][c] = scores_of.of(scores[r][c], first + i, at + threadIdx.x + ACROSS * c);
                largest = fmax(largest, scores[r][c]);
            }
            for (int distance = ACROSS / 2; distance; distance /= 2)
                largest = fmax(largest, __shfl_xor_sync(ALL, largest, distance));
            const REAL peak = fabs(largest) < INFINITE ? largest : 0;
            const REAL before = largest < INFINITE ? exp(most[r] - peak) : 1;
            most[r] = largest;
            total[r] *= before;
#pragma unroll
            for (int e = 0; e < EACH; ++e) sums[r][e] *= before;
#pragma unroll
            for (int c = 0; c < C; ++c) {
                const REAL weight = exp(scores[r][c] - peak);
                total[r] += weight;
                shares[i][threadIdx.x + ACROSS * c] = weight;
            }
        }
        __syncthreads();
        stage<COLUMNS>(other, value + at * v_row, v_row, keys - at, features);
        __syncthreads();
        add_rows(sums, shares, other);
    }
    REAL factors[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
        const int i = threadIdx.y + DOWN * r;
        for (int distance = ACROSS / 2; distance; distance /= 2)
            total[r] += __shfl_xor_sync(ALL, total[r], distance);
        factors[r] = total[r] != 0 ? 1 / total[r] : 0;
        const REAL peak = fabs(most[r]) < INFINITE ? most[r] : 0;
        if (threadIdx.x == 0 && first + i < queries)
            logs[stack * queries + first + i] = total[r] != 0 ? peak + log(total[r]) : INFINITE;
    }
    put(MATRIX(y) + first * y_row, y_row, queries - first, features, sums, factors);
}

// sum(g * y) of each query, by a warp.
extern "C" __global__ void deltas(const REAL* g, const REAL* y, REAL* deltas, STACK(g), STACK(y), long long count,
                                  long long queries, long long features, long long inner) {
    const long long row = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (row >= count) return;
    const long long stack = row / queries, far = stack / inner, near = stack % inner;
    const REAL *a = MATRIX(g) + row % queries * g_row, *b = MATRIX(y) + row % queries * y_row;
    REAL sum = 0;
    for (int c = threadIdx.x; c < features; c += 32) sum = product_plus(a[c], b[c], sum);
    for (int distance = 16; distance; distance /= 2) sum += __shfl_xor_sync(ALL, sum, distance);
    if (threadIdx.x == 0) deltas[row] = sum;
}

struct Rows {
    const REAL* start;
    long long row;
};

// With the weights p of softmax, made again from the logarithms of their sums, and their gradients times p,
// d = p * (g @ v.T - deltas): of queries (a, b, c, d are q, g, k, v), da = d @ k * scale, and of keys (k, v, q, g),
// da = d.T @ q * scale and db = p.T @ g. A mask of all pairs is read along its columns for keys, 16 rows at once.
template <bool KEYS>  // static, so that no other module shares its arrays under the emulator
static __device__ void gradient(Rows a, Rows b, Rows c, Rows d, const REAL* logs, const REAL* deltas, REAL* da,
                         long long da_row, REAL* db, long long db_row, int first, int start, int stop, int mine,
                         int theirs, int depth, int features, const Scores& scores_of) {
    constexpr int ROWS_ = GRADIENT_ROWS, COLUMNS_ = GRADIENT_COLUMNS, R = ROWS_ / DOWN, C = COLUMNS_ / ACROSS;
    alignas(16) __shared__ REAL left[ROWS_][LENGTH], right[ROWS_][LENGTH], other[COLUMNS_][LENGTH];
    alignas(16) __shared__ REAL shares[ROWS_][COLUMNS_ + PACK];
    REAL sums[R][EACH] = {}, sums_b[R][EACH] = {}, factors[R];
    stage<ROWS_>(left, a.start + first * a.row, a.row, mine - first, depth);
    stage<ROWS_>(right, b.start + first * b.row, b.row, mine - first, features);
    for (int at = start; at < stop; at += COLUMNS_) {
        REAL slopes[R][C] = {}, weights[R][C] = {};
        __syncthreads();
        stage<COLUMNS_>(other, d.start + at * d.row, d.row, theirs - at, features);
        __syncthreads();
        add_products(slopes, right, other);
        __syncthreads();
        stage<COLUMNS_>(other, c.start + at * c.row, c.row, theirs - at, depth);
        __syncthreads();
        add_products(weights, left, other);
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int s = 0; s < C; ++s) {
                const int i = first + threadIdx.y + DOWN * r, j = at + threadIdx.x + ACROSS * s;
                const int query = KEYS ? j : i, key = KEYS ? i : j;
                const bool there = query < scores_of.queries;
                const REAL logarithm = there ? logs[query] : INFINITE, delta = there ? deltas[query] : 0;
                weights[r][s] = exp(scores_of.of(weights[r][s], query, key) - logarithm);
                shares[i - first][j - at] = weights[r][s] * (slopes[r][s] - delta);
            }
        __syncthreads();
        add_rows(sums, shares, other);
        if (!KEYS) continue;
        __syncthreads();
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int s = 0; s < C; ++s)
                shares[threadIdx.y + DOWN * r][threadIdx.x + ACROSS * s] = weights[r][s];
        stage<COLUMNS_>(other, d.start + at * d.row, d.row, theirs - at, features);
        __syncthreads();
        add_rows(sums_b, shares, other);
    }
#pragma unroll
    for (int r = 0; r < R; ++r) factors[r] = scores_of.scale;
    if (da) put(da + first * da_row, da_row, mine - first, depth, sums, factors);
#pragma unroll
    for (int r = 0; r < R; ++r) factors[r] = 1;
    if (KEYS && db) put(db + first * db_row, db_row, mine - first, features, sums_b, factors);
}

extern "C" __global__ __launch_bounds__(THREADS) void of_queries(
    const REAL* g, const REAL* q, const REAL* k, const REAL* v, const MASK* mask, const REAL* logs, const REAL* deltas,
    REAL* dq, STACK(g), STACK(q), STACK(k), STACK(v), STACK(dq), STACK(mask), long long mask_column, long long queries,
    long long keys, long long depth, long long features, long long inner, long long causal, double scale) {
    const long long tiles = (queries + GRADIENT_ROWS - 1) / GRADIENT_ROWS, stack = blockIdx.x / tiles;
    const long long far = stack / inner, near = stack % inner;
    const int first = (tiles - 1 - blockIdx.x % tiles) * GRADIENT_ROWS;  // those first that see most
    const Scores scores_of(mask ? MATRIX(mask) : mask, mask_row, mask_column, queries, keys, causal, scale);
    gradient<false>({MATRIX(q), q_row}, {MATRIX(g), g_row}, {MATRIX(k), k_row}, {MATRIX(v), v_row},
                    logs + stack * queries, deltas + stack * queries, MATRIX(dq), dq_row, nullptr, 0, first, 0,
                    scores_of.seen(first + GRADIENT_ROWS), queries, keys, depth, features, scores_of);
}

// dk or dv is null if it is not needed.
extern "C" __global__ __launch_bounds__(THREADS) void of_keys(
    const REAL* g, const REAL* q, const REAL* k, const REAL* v, const MASK* mask, const REAL* logs, const REAL* deltas,
    REAL* dk, REAL* dv, STACK(g), STACK(q), STACK(k), STACK(v), STACK(dk), STACK(dv), STACK(mask),
    long long mask_column, long long queries, long long keys, long long depth, long long features, long long inner,
    long long causal, double scale) {
    const long long tiles = (keys + GRADIENT_ROWS - 1) / GRADIENT_ROWS, stack = blockIdx.x / tiles;
    const long long far = stack / inner, near = stack % inner;
    const int first = blockIdx.x % tiles * GRADIENT_ROWS;
    const Scores scores_of(mask ? MATRIX(mask) : mask, mask_row, mask_column, queries, keys, causal, scale);
    const int start = max(0, first - scores_of.ahead);  // the first query that sees a key of these
    gradient<true>({MATRIX(k), k_row}, {MATRIX(v), v_row}, {MATRIX(q), q_row}, {MATRIX(g), g_row},
                   logs + stack * queries, deltas + stack * queries, dk ? MATRIX(dk) : dk, dk_row,
                   dv ? MATRIX(dv) : dv, dv_row, first, start, queries, keys, queries, depth, features, scores_of);
}
