// Pooling, channels last, over three axes (images of fewer have axes of length 1 in front).
//
// There is no race: each thread alone writes its elements of the result, and reads nothing that its kernel writes.
// Gradients gather: an element of the image adds up what comes from the windows that cover it, in the order of its
// places in them, so that results are the same each time.

#include "vectors.cuh"

struct Axis {
    int size, output, window, stride, low, high;  // what is not from low to high is padding
};
struct Axes {
    Axis planes, rows, columns;
};
#define AXIS(a)                                                                                              \
    long long a##_size, long long a##_output, long long a##_window, long long a##_stride, long long a##_low, \
        long long a##_high
#define AXES AXIS(planes), AXIS(rows), AXIS(columns)
#define MADE(a) \
    Axis { (int)a##_size, (int)a##_output, (int)a##_window, (int)a##_stride, (int)a##_low, (int)a##_high }
#define ALL_AXES \
    Axes { MADE(planes), MADE(rows), MADE(columns) }

// Calls each(i, tap, is_image) for the pixels i of the window that output number `number` has.
template <typename F> __device__ void for_window(const Axes& axes, INDEX number, F each) {
    const Axis &planes = axes.planes, &rows = axes.rows, &columns = axes.columns;
    const INDEX line = number / columns.output, plane = line / rows.output, image = plane / planes.output;
    const int first = plane % planes.output * planes.stride, top = line % rows.output * rows.stride;
    const int left = number % columns.output * columns.stride;
    int tap = 0;
    for (int p = first; p < first + planes.window; ++p) {
        for (int q = top; q < top + rows.window; ++q) {
            const bool is_image = p >= planes.low && p < planes.high && q >= rows.low && q < rows.high;
            const INDEX row = ((image * planes.size + p) * rows.size + q) * columns.size;
            for (int r = left; r < left + columns.window; ++r) {
                each(row + r, tap++, is_image && r >= columns.low && r < columns.high);
            }
        }
    }
}

// The first and the last output whose window has a pixel.
__device__ int first_of(const Axis& a, int pixel) { return pixel < a.window ? 0 : (pixel - a.window) / a.stride + 1; }
__device__ int last_of(const Axis& a, int pixel) { return min(pixel / a.stride, a.output - 1); }

// Calls each(i, tap) for the outputs i whose windows have pixel number `number`, the one with the lowest tap first.
template <typename F> __device__ void for_outputs(const Axes& axes, INDEX number, F each) {
    const Axis &planes = axes.planes, &rows = axes.rows, &columns = axes.columns;
    const INDEX line = number / columns.size, plane = line / rows.size, image = plane / planes.size;
    const int depth = plane % planes.size, height = line % rows.size, width = number % columns.size;
    const int planes_from = first_of(planes, depth), rows_from = first_of(rows, height);
    const int columns_from = first_of(columns, width);
    for (int p = last_of(planes, depth); p >= planes_from; --p) {
        for (int q = last_of(rows, height); q >= rows_from; --q) {
            const int tap = ((depth - p * planes.stride) * rows.window + height - q * rows.stride) * columns.window;
            const INDEX row = ((image * planes.output + p) * rows.output + q) * columns.output;
            for (int r = last_of(columns, width); r >= columns_from; --r) {
                each(row + r, tap + width - r * columns.stride);
            }
        }
    }
}

// Loops are over the vectors of the result, of which `width` are the channels of a pixel.

template <int W> __device__ void sums(const REAL* x, REAL* y, const Axes& axes, INDEX outputs, int width) {
    FOR_EACH(i, outputs * width) {
        Vector<REAL, W> total = {};
        for_window(axes, i / width, [&](INDEX pixel, int, bool) {
            const auto value = load<W>(x, pixel * width + i % width);
            for (int w = 0; w < W; ++w) total.at[w] += value.at[w];
        });
        store(y, i, total);
    }
}

template <int W> __device__ void sums_transpose(const REAL* g, REAL* y, const Axes& axes, INDEX pixels, int width) {
    FOR_EACH(i, pixels * width) {
        Vector<REAL, W> total = {};
        for_outputs(axes, i / width, [&](INDEX output, int) {
            const auto value = load<W>(g, output * width + i % width);
            for (int w = 0; w < W; ++w) total.at[w] += value.at[w];
        });
        store(y, i, total);
    }
}

// A NaN is the largest; it is the only one that differs from itself.
template <int W> __device__ void maxima(const REAL* x, REAL* y, const Axes& axes, INDEX outputs, int width) {
    FOR_EACH(i, outputs * width) {
        Vector<REAL, W> largest;
        for_window(axes, i / width, [&](INDEX pixel, int tap, bool) {
            const auto value = load<W>(x, pixel * width + i % width);
            for (int w = 0; w < W; ++w) {
                const REAL v = value.at[w];
                if (tap == 0 || v > largest.at[w] || v != v) largest.at[w] = v;
            }
        });
        store(y, i, largest);
    }
}

// Which place of the window has the first of its largest elements or the first NaN, never the padding; -1 if it is all
// padding.
template <int W> __device__ void places(const REAL* x, int* y, const Axes& axes, INDEX outputs, int width) {
    FOR_EACH(i, outputs * width) {
        Vector<REAL, W> largest = {};
        Vector<int, W> chosen;
        for (int w = 0; w < W; ++w) chosen.at[w] = -1;
        for_window(axes, i / width, [&](INDEX pixel, int tap, bool is_image) {
            const auto value = load<W>(x, pixel * width + i % width);
            for (int w = 0; w < W; ++w) {
                const REAL v = value.at[w], old = largest.at[w];
                if (!is_image || !(chosen.at[w] < 0 || v > old || (v != v && old == old))) continue;
                largest.at[w] = v;
                chosen.at[w] = tap;
            }
        });
        store(y, i, chosen);
    }
}

template <int W>
__device__ void maxima_transpose(
    const REAL* g, const int* chosen, REAL* y, const Axes& axes, INDEX pixels, int width) {
    FOR_EACH(i, pixels * width) {
        Vector<REAL, W> total = {};
        for_outputs(axes, i / width, [&](INDEX output, int tap) {
            const auto value = load<W>(g, output * width + i % width);
            const auto place = load<W>(chosen, output * width + i % width);
            for (int w = 0; w < W; ++w) total.at[w] += place.at[w] == tap ? value.at[w] : 0;
        });
        store(y, i, total);
    }
}

extern "C" __global__ void total(const REAL* x, REAL* y, AXES, long long outputs, long long channels) {
    const Axes axes = ALL_AXES;
    are_wide(channels, x, y) ? sums<WIDE>(x, y, axes, outputs, channels / WIDE)
                             : sums<1>(x, y, axes, outputs, channels);
}

extern "C" __global__ void total_transpose(const REAL* g, REAL* y, AXES, long long pixels, long long channels) {
    const Axes axes = ALL_AXES;
    are_wide(channels, g, y) ? sums_transpose<WIDE>(g, y, axes, pixels, channels / WIDE)
                             : sums_transpose<1>(g, y, axes, pixels, channels);
}

extern "C" __global__ void largest(const REAL* x, REAL* y, AXES, long long outputs, long long channels) {
    const Axes axes = ALL_AXES;
    are_wide(channels, x, y) ? maxima<WIDE>(x, y, axes, outputs, channels / WIDE)
                             : maxima<1>(x, y, axes, outputs, channels);
}

extern "C" __global__ void choose(const REAL* x, int* chosen, AXES, long long outputs, long long channels) {
    const Axes axes = ALL_AXES;
    are_wide(channels, x, chosen) ? places<WIDE>(x, chosen, axes, outputs, channels / WIDE)
                                  : places<1>(x, chosen, axes, outputs, channels);
}

extern "C" __global__ void largest_transpose(
    const REAL* g, const int* chosen, REAL* y, AXES, long long pixels, long long channels) {
    const Axes axes = ALL_AXES;
    are_wide(channels, g, chosen, y) ? maxima_transpose<WIDE>(g, chosen, y, axes, pixels, channels / WIDE)
                                     : maxima_transpose<1>(g, chosen, y, axes, pixels, channels);
}
