// Convolution, channels last, over three axes (images of fewer have axes of length 1 in front): patches of images for
// products of matrices, what becomes of such products, and depthwise convolution without patches.
//
// There is no race: each thread alone writes its elements of the result, and reads nothing that its kernel writes.
// Sums run in one order, so that results are the same each time: a thread adds up all of them, or, for the gradient of
// a depthwise kernel, a block adds up its threads' in shared memory, between barriers.

#include "factors.cuh"
#include "vectors.cuh"

constexpr int THREADS = 256;  // of the blocks that add up
constexpr int TAPS = 4;       // neighbours in a window that such a block takes at once

struct Axis {
    int size, output, window, stride, dilation, before;
};
struct Axes {
    Axis planes, rows, columns;
};
#define AXIS(a) \
    long long a##_size, long long a##_output, long long a##_window, long long a##_stride, long long a##_dilation, \
        long long a##_before
#define AXES AXIS(planes), AXIS(rows), AXIS(columns)
#define MADE(a) \
    Axis { (int)a##_size, (int)a##_output, (int)a##_window, (int)a##_stride, (int)a##_dilation, (int)a##_before }
#define ALL_AXES Axes { MADE(planes), MADE(rows), MADE(columns) }

struct Place {
    INDEX image;
    int plane, row, column;
};

// Where output number i lies.
__device__ Place place(const Axes& axes, INDEX i) {
    const INDEX line = i / axes.columns.output, plane = line / axes.rows.output;
    return {plane / axes.planes.output, (int)(plane % axes.planes.output), (int)(line % axes.rows.output),
            (int)(i % axes.columns.output)};
}

// Which pixel of the image a tap of an output's window reads; -1 if it is outside.
__device__ int pixel(const Axis& a, int output, int tap) {
    int at = output * a.stride - a.before + tap * a.dilation;
    return at < a.size ? max(at, -1) : -1;
}
// Which output reads a pixel with that tap; -1 if none does.
__device__ int output(const Axis& a, int pixel, int tap) {
    int from = pixel + a.before - tap * a.dilation;
    return from >= 0 && from % a.stride == 0 && from / a.stride < a.output ? from / a.stride : -1;
}

// Calls each(i, tap) for the pixels i that the window of output `number` reads, in their order.
template <typename F> __device__ void for_window(const Axes& axes, INDEX number, F each) {
    const Axis &planes = axes.planes, &rows = axes.rows, &columns = axes.columns;
    const Place at = place(axes, number);
    for (int a = 0; a < planes.window; ++a) {
        const int p = pixel(planes, at.plane, a);
        for (int b = 0; p >= 0 && b < rows.window; ++b) {
            const int q = pixel(rows, at.row, b);
            for (int c = 0; q >= 0 && c < columns.window; ++c) {
                const int r = pixel(columns, at.column, c);
                const INDEX line = (at.image * planes.size + p) * rows.size + q;
                if (r >= 0) each(line * columns.size + r, (a * rows.window + b) * columns.window + c);
            }
        }
    }
}

// Calls each(i, tap) for the outputs i that read pixel `number`, in the order of the taps with which they do.
template <typename F> __device__ void for_outputs(const Axes& axes, INDEX number, F each) {
    const Axis &planes = axes.planes, &rows = axes.rows, &columns = axes.columns;
    const INDEX line = number / columns.size, plane = line / rows.size, image = plane / planes.size;
    for (int a = 0; a < planes.window; ++a) {
        const int p = output(planes, plane % planes.size, a);
        for (int b = 0; p >= 0 && b < rows.window; ++b) {
            const int q = output(rows, line % rows.size, b);
            for (int c = 0; q >= 0 && c < columns.window; ++c) {
                const int r = output(columns, number % columns.size, c);
                const INDEX from = (image * planes.output + p) * rows.output + q;
                if (r >= 0) each(from * columns.output + r, (a * rows.window + b) * columns.window + c);
            }
        }
    }
}

// Patches as rows of a matrix, from that one on: (outputs, groups, window, channels / groups).
template <int W>
__device__ void copy_patches(
    const REAL* x, FACTOR* patches, const Axes& axes, INDEX first, INDEX rows, int channels, int groups) {
    const Axis &planes = axes.planes, &lines = axes.rows, &columns = axes.columns;
    const int deep = channels / groups / W, taps = planes.window * lines.window * columns.window;
    const int length = groups * taps * deep;
    for (INDEX row = blockIdx.x * (INDEX)blockDim.y + threadIdx.y; row < rows; row += gridDim.x * (INDEX)blockDim.y) {
        const Place at = place(axes, first + row);
        for (int k = threadIdx.x; k < length; k += blockDim.x) {
            const int tap = k / deep % taps, line = tap / columns.window;
            const int p = pixel(planes, at.plane, line / lines.window);
            const int q = pixel(lines, at.row, line % lines.window);
            const int r = pixel(columns, at.column, tap % columns.window);
            Vector<FACTOR, W> value = {};
            if (p >= 0 && q >= 0 && r >= 0) {
                const INDEX from = ((at.image * planes.size + p) * lines.size + q) * columns.size + r;
                const auto read = load<W>(x, (from * groups + k / (deep * taps)) * deep + k % deep);
                for (int w = 0; w < W; ++w) value.at[w] = TO_FACTOR(read.at[w]);
            }
            store(patches, row * length + k, value);
        }
    }
}

extern "C" __global__ void patches(
    const REAL* x, FACTOR* patches, AXES, long long first, long long rows, long long channels, long long groups) {
    if (are_wide(channels / groups, x, patches)) {
        copy_patches<WIDE>(x, patches, ALL_AXES, first, rows, channels, groups);
    } else {
        copy_patches<1>(x, patches, ALL_AXES, first, rows, channels, groups);
    }
}

// The transpose: each element of the image adds up what it has become in the patches.
template <int W>
__device__ void add_patches(const REAL* patches, REAL* x, const Axes& axes, INDEX pixels, int channels, int groups) {
    const int width = channels / W, deep = width / groups;
    const int taps = axes.planes.window * axes.rows.window * axes.columns.window;
    FOR_EACH(i, pixels * width) {
        const int channel = i % width, group = channel / deep;
        Vector<REAL, W> total = {};
        for_outputs(axes, i / width, [&](INDEX output, int tap) {
            const auto value = load<W>(patches, ((output * groups + group) * taps + tap) * deep + channel % deep);
            for (int w = 0; w < W; ++w) total.at[w] += value.at[w];
        });
        store(x, i, total);
    }
}

extern "C" __global__ void image(
    const REAL* patches, REAL* x, AXES, long long pixels, long long channels, long long groups) {
    if (are_wide(channels / groups, patches, x)) {
        add_patches<WIDE>(patches, x, ALL_AXES, pixels, channels, groups);
    } else {
        add_patches<1>(patches, x, ALL_AXES, pixels, channels, groups);
    }
}

// A kernel (taps, deep, filters) back to front, for the transpose: (groups, deep, taps, filters / groups).
extern "C" __global__ void turn(
    const REAL* kernel, FACTOR* turned, long long taps, long long deep, long long filters, long long groups) {
    const int each = filters / groups;
    FOR_EACH(i, (INDEX)(taps * deep * filters)) {
        const INDEX line = i / each, plane = line / (INDEX)taps;
        const INDEX tap = taps - 1 - line % (INDEX)taps, group = plane / (INDEX)deep;
        turned[i] = TO_FACTOR(kernel[(tap * deep + plane % (INDEX)deep) * filters + group * each + i % each]);
    }
}

// Depthwise: each channel has `multiplier` filters of its own, and vectors are of several channels only if that is 1.
template <int W>
__device__ void convolve(
    const REAL* x, const REAL* kernel, REAL* y, const Axes& axes, INDEX outputs, int channels, int multiplier) {
    const int width = channels / W, filters = width * multiplier;
    FOR_EACH(i, outputs * filters) {
        const int filter = i % filters;
        Vector<REAL, W> total = {};
        for_window(axes, i / filters, [&](INDEX pixel, int tap) {
            const auto value = load<W>(x, pixel * width + filter / multiplier);
            const auto factor = load<W>(kernel, (INDEX)tap * filters + filter);
            for (int w = 0; w < W; ++w) total.at[w] = fma(value.at[w], factor.at[w], total.at[w]);
        });
        store(y, i, total);
    }
}

extern "C" __global__ void depthwise(
    const REAL* x, const REAL* kernel, REAL* y, AXES, long long outputs, long long channels, long long multiplier) {
    if (multiplier == 1 && are_wide(channels, x, kernel, y)) {
        convolve<WIDE>(x, kernel, y, ALL_AXES, outputs, channels, 1);
    } else {
        convolve<1>(x, kernel, y, ALL_AXES, outputs, channels, multiplier);
    }
}

template <int W>
__device__ void convolve_transpose(
    const REAL* g, const REAL* kernel, REAL* y, const Axes& axes, INDEX pixels, int channels, int multiplier) {
    const int width = channels / W, filters = width * multiplier;
    FOR_EACH(i, pixels * width) {
        const int first = i % width * multiplier;
        Vector<REAL, W> total = {};
        for_outputs(axes, i / width, [&](INDEX output, int tap) {
            for (int filter = first; filter < first + multiplier; ++filter) {
                const auto value = load<W>(g, output * filters + filter);
                const auto factor = load<W>(kernel, (INDEX)tap * filters + filter);
                for (int w = 0; w < W; ++w) total.at[w] = fma(value.at[w], factor.at[w], total.at[w]);
            }
        });
        store(y, i, total);
    }
}

extern "C" __global__ void depthwise_transpose(
    const REAL* g, const REAL* kernel, REAL* y, AXES, long long pixels, long long channels, long long multiplier) {
    if (multiplier == 1 && are_wide(channels, g, kernel, y)) {
        convolve_transpose<WIDE>(g, kernel, y, ALL_AXES, pixels, channels, 1);
    } else {
        convolve_transpose<1>(g, kernel, y, ALL_AXES, pixels, channels, multiplier);
    }
}

// The sum over the threads of a block that have the same x; blockDim.y is a power of two.
__device__ REAL sum_of(REAL value) {
    __shared__ REAL sums[THREADS];
    const int at = threadIdx.y * blockDim.x + threadIdx.x;
    sums[at] = value;
    __syncthreads();
    for (int half = blockDim.y / 2; half; half /= 2) {
        if (threadIdx.y < half) sums[at] += sums[at + half * blockDim.x];
        __syncthreads();
    }
    value = sums[threadIdx.x];
    __syncthreads();  // until all have read it, no next sum begins
    return value;
}

// The gradient of a depthwise kernel, in parts: (parts, window, filters). A block adds up every gridDim.y-th run of
// outputs, for blockDim.x filters and some neighbouring taps.
extern "C" __global__ void depthwise_kernel(
    const REAL* x, const REAL* g, REAL* parts, AXES, long long outputs, long long channels, long long multiplier) {
    const Axes axes = ALL_AXES;
    const Axis &planes = axes.planes, &rows = axes.rows, &columns = axes.columns;
    const int filters = channels * multiplier, runs = (filters + blockDim.x - 1) / blockDim.x;
    const int filter = blockIdx.x % runs * blockDim.x + threadIdx.x, number = blockIdx.x / runs;
    const int tiles = (columns.window + TAPS - 1) / TAPS, line = number / tiles, first = number % tiles * TAPS;
    const INDEX stop = filter < filters ? outputs : 0, step = gridDim.y * (INDEX)blockDim.y;
    REAL totals[TAPS] = {};
    for (INDEX i = blockIdx.y * (INDEX)blockDim.y + threadIdx.y; i < stop; i += step) {
        const Place at = place(axes, i);
        const int p = pixel(planes, at.plane, line / rows.window), q = pixel(rows, at.row, line % rows.window);
        if (p < 0 || q < 0) continue;
        const REAL value = g[i * filters + filter];
        const INDEX from = ((at.image * planes.size + p) * rows.size + q) * columns.size;
        for (int t = 0; t < TAPS; ++t) {
            const int r = pixel(columns, at.column, first + t);
            if (first + t < columns.window && r >= 0) {
                totals[t] = fma(x[(from + r) * channels + filter / (int)multiplier], value, totals[t]);
            }
        }
    }
    const INDEX part = blockIdx.y * (INDEX)(planes.window * rows.window) + line;
    for (int t = 0; t < TAPS; ++t) {
        const REAL total = sum_of(totals[t]);
        if (threadIdx.y == 0 && filter < filters && first + t < columns.window) {
            parts[(part * columns.window + first + t) * filters + filter] = total;
        }
    }
}

// The sums over the first axis of (parts, count).
extern "C" __global__ void add_parts(const REAL* parts, REAL* y, long long count_of_parts, long long count) {
    const INDEX at = blockIdx.x * (INDEX)blockDim.x + threadIdx.x;
    REAL total = 0;
    for (INDEX part = threadIdx.y; at < count && part < count_of_parts; part += blockDim.y) {
        total += parts[part * count + at];
    }
    total = sum_of(total);
    if (threadIdx.y == 0 && at < count) y[at] = total;
}
