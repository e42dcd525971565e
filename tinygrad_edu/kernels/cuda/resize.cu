// Resizing images, channels last.
//
// There is no race: each thread alone writes its elements of the result, and reads nothing that its kernel writes. The
// transpose gathers: a pixel adds up what comes from those that it counts for, from the first to the last of them, so
// that results are the same each time.
//
// INDEX holds 4 n size along an axis, too.

#include "vectors.cuh"

// Adds a vector that counts so much.
template <int W> __device__ void add(Vector<REAL, W>& total, const Vector<REAL, W>& value, REAL counts) {
    for (int w = 0; w < W; ++w) total.at[w] += value.at[w] * counts;
}

struct Axis {
    INDEX n, size;  // pixels of the image, and of the resized one
    bool bilinear;
};

struct Share {
    INDEX pixel;
    REAL counts, next;  // what that pixel counts and the one behind it, which is not there if this is 0
};

// Which pixels count for number i of the resized image.
__device__ Share share(const Axis& a, INDEX i) {
    const INDEX whole = 2 * a.size, at = (2 * i + 1) * a.n, most = whole * (a.n - 1);
    if (!a.bilinear) return {at / whole, 1, 0};
    const INDEX centre = at < a.size ? 0 : min(at - a.size, most), rest = centre % whole;
    return {centre / whole, (REAL)(whole - rest) / (REAL)whole, (REAL)rest / (REAL)whole};
}

// What a pixel counts for number i of the resized image.
__device__ REAL counts(const Axis& a, INDEX pixel, INDEX i) {
    const Share found = share(a, i);
    return found.pixel == pixel ? found.counts : found.pixel + 1 == pixel ? found.next : 0;
}

// The first number for which a pixel may count, and the one behind the last: their centres are less than a pixel away.
__device__ INDEX first_of(const Axis& a, INDEX pixel) {
    const INDEX from = (2 * pixel + 1) * a.size, off = 2 * a.size + a.n;
    return from > off ? (from - off) / (2 * a.n) : 0;
}
__device__ INDEX behind(const Axis& a, INDEX pixel) {
    const INDEX to = (2 * pixel + 3) * a.size;
    return to > a.n ? min((to - a.n) / (2 * a.n) + 1, a.size) : 0;
}

// First the rows, then the columns. `width` vectors are the channels of a pixel.
template <int W>
__device__ void interpolate(const REAL* x, REAL* y, const Axis& rows, const Axis& columns, INDEX pixels, INDEX width) {
    FOR_EACH(i, pixels * width) {
        const INDEX number = i / width, line = number / columns.size;
        const Share row = share(rows, line % rows.size), column = share(columns, number % columns.size);
        const INDEX upper = ((line / rows.size * rows.n + row.pixel) * columns.n + column.pixel) * width + i % width;
        Vector<REAL, W> total = {};
        for (int side = 0; side < (column.next > 0 ? 2 : 1); ++side) {
            Vector<REAL, W> part = {};
            add(part, load<W>(x, upper + side * width), row.counts);
            if (row.next > 0) add(part, load<W>(x, upper + (columns.n + side) * width), row.next);
            add(total, part, side ? column.next : column.counts);
        }
        store(y, i, total);
    }
}

template <int W>
__device__ void spread(const REAL* g, REAL* y, const Axis& rows, const Axis& columns, INDEX pixels, INDEX width) {
    FOR_EACH(i, pixels * width) {
        const INDEX number = i / width, line = number / columns.n, row = line % rows.n, column = number % columns.n;
        const INDEX left = first_of(columns, column), right = behind(columns, column), end = behind(rows, row);
        Vector<REAL, W> total = {};
        for (INDEX r = first_of(rows, row); r < end; ++r) {
            const REAL of_row = counts(rows, row, r);
            if (of_row == 0) continue;
            Vector<REAL, W> part = {};
            for (INDEX c = left; c < right; ++c) {
                const REAL of_column = counts(columns, column, c);
                const INDEX from = (line / rows.n * rows.size + r) * columns.size + c;
                if (of_column != 0) add(part, load<W>(g, from * width + i % width), of_column);
            }
            add(total, part, of_row);
        }
        store(y, i, total);
    }
}

#define SIZES                                                                                                \
    long long height, long long size_height, long long width, long long size_width, long long bilinear, \
        long long pixels, long long channels
#define ROWS \
    Axis { (INDEX)height, (INDEX)size_height, bilinear != 0 }
#define COLUMNS \
    Axis { (INDEX)width, (INDEX)size_width, bilinear != 0 }

extern "C" __global__ void resize(const REAL* x, REAL* y, SIZES) {
    are_wide(channels, x, y) ? interpolate<WIDE>(x, y, ROWS, COLUMNS, pixels, channels / WIDE)
                             : interpolate<1>(x, y, ROWS, COLUMNS, pixels, channels);
}

extern "C" __global__ void resize_transpose(const REAL* g, REAL* y, SIZES) {
    are_wide(channels, g, y) ? spread<WIDE>(g, y, ROWS, COLUMNS, pixels, channels / WIDE)
                             : spread<1>(g, y, ROWS, COLUMNS, pixels, channels);
}
