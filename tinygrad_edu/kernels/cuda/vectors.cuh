// Neighbouring elements that a thread takes at once. REAL is float or double, INDEX an unsigned type for the number of
// an array's elements.

constexpr int WIDE = 16 / sizeof(REAL);  // elements of the widest vector

template <typename T, int W> struct alignas(W * sizeof(T)) Vector {
    T at[W];
};
template <int W, typename T> __device__ Vector<T, W> load(const T* a, INDEX i) { return ((const Vector<T, W>*)a)[i]; }
template <typename T, int W> __device__ void store(T* a, INDEX i, Vector<T, W> value) { ((Vector<T, W>*)a)[i] = value; }

// Whether runs of so many elements in these arrays, the whole of them, can be taken as vectors.
__device__ bool are_wide(long long run, const void* a, const void* b, const void* c = nullptr) {
    return run % WIDE == 0 && ((unsigned long long)a | (unsigned long long)b | (unsigned long long)c) % 16 == 0;
}

// A loop over the elements of the result, or over its vectors.
#define FOR_EACH(i, stop) \
    for (INDEX i = blockIdx.x * (INDEX)blockDim.x + threadIdx.x; i < stop; i += gridDim.x * (INDEX)blockDim.x)
