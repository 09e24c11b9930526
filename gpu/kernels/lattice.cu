// Area means of planes on a lattice: what verification/src/means.rs computes, in the same integers.
//
// One block takes one row of cells of one plane: first its threads add up the weighted rows of samples, lane by lane, into
// shared memory; then they add up the lanes under each cell and divide. Every sum is exact, so that neither the order of
// threads nor that of additions can show. gpu/src/lattice/twin.rs follows this file line by line on the CPU.
//
// A lane is a sample, or four neighbours together where whole fours lie under every cell. Rows start at multiples of 16 bytes
// and are padded to them; what lies in the padding is read and not used.

// As gpu/src/lattice/mod.rs lays it out.
struct Work {
    unsigned long long divisor;
    unsigned int pitch, lanes, channels, shift;
    unsigned int across_samples, across_cells, down_samples, down_cells;
    unsigned int cols, rows;
};

// The samples that a cell touches, and the weights of the first and of the last.
struct Span {
    unsigned int first, after, head, tail;
};

static __device__ Span span_of(unsigned int samples, unsigned int cells, unsigned int index) {
    const unsigned int start = index * samples;
    const unsigned int end = start + samples;
    Span span;
    span.first = start / cells;
    span.after = (end + cells - 1) / cells;
    span.head = min((span.first + 1) * cells, end) - start;
    span.tail = end - (span.after - 1) * cells;
    return span;
}

static __device__ unsigned int weight_of(const Span &span, unsigned int cells, unsigned int index) {
    return index == span.first ? span.head : index + 1 == span.after ? span.tail : cells;
}

// How the 16 bytes that a thread reads at once become lanes.
struct Bytes {
    static const unsigned int LANES = 16;
    static __device__ void add(unsigned int *sums, const unsigned int *words, unsigned int weight, unsigned int) {
#pragma unroll
        for (unsigned int lane = 0; lane < LANES; ++lane)
            sums[lane] += weight * (words[lane / 4] >> (8 * (lane % 4)) & 0xff);
    }
};

struct Words {
    static const unsigned int LANES = 8;
    static __device__ void add(unsigned int *sums, const unsigned int *words, unsigned int weight, unsigned int shift) {
#pragma unroll
        for (unsigned int lane = 0; lane < LANES; ++lane)
            sums[lane] += weight * ((words[lane / 2] >> (16 * (lane % 2)) & 0xffff) >> shift);
    }
};

// One instruction, a dot product with ones. NVRTC has no intrinsic for it without the toolkit's headers.
static __device__ unsigned int sum_of_bytes(unsigned int word) {
    unsigned int sum;
    asm("dp4a.u32.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(word), "r"(0x01010101u), "r"(0u));
    return sum;
}

struct Quads {
    static const unsigned int LANES = 4;
    static __device__ void add(unsigned int *sums, const unsigned int *words, unsigned int weight, unsigned int) {
#pragma unroll
        for (unsigned int lane = 0; lane < LANES; ++lane)
            sums[lane] += weight * sum_of_bytes(words[lane]);
    }
};

template <class Kind>
static __device__ void means(const unsigned char *const *planes, const Work &work, unsigned short *out) {
    extern __shared__ uint4 shared[];
    unsigned int *lanes = reinterpret_cast<unsigned int *>(shared);
    const unsigned char *plane = planes[blockIdx.y];
    const Span rows = span_of(work.down_samples, work.down_cells, blockIdx.x);
    for (unsigned int group = threadIdx.x; group * Kind::LANES < work.lanes; group += blockDim.x) {
        unsigned int sums[Kind::LANES] = {};
        for (unsigned int y = rows.first; y < rows.after; ++y) {
            const uint4 *row = reinterpret_cast<const uint4 *>(plane + static_cast<size_t>(y) * work.pitch);
            const uint4 read = __ldg(row + group);
            const unsigned int words[4] = {read.x, read.y, read.z, read.w};
            Kind::add(sums, words, weight_of(rows, work.down_cells, y), work.shift);
        }
#pragma unroll
        for (unsigned int four = 0; four < Kind::LANES / 4; ++four)
            shared[group * (Kind::LANES / 4) + four] =
                make_uint4(sums[4 * four], sums[4 * four + 1], sums[4 * four + 2], sums[4 * four + 3]);
    }
    __syncthreads();
    for (unsigned int cell = threadIdx.x; cell < work.cols * work.channels; cell += blockDim.x) {
        const unsigned int channel = cell / work.cols;
        const unsigned int col = cell % work.cols;
        const Span columns = span_of(work.across_samples, work.across_cells, col);
        unsigned long long sum = 0;
        for (unsigned int x = columns.first; x < columns.after; ++x)
            sum += static_cast<unsigned long long>(weight_of(columns, work.across_cells, x)) *
                   lanes[x * work.channels + channel];
        const unsigned long long mean = (16 * sum + work.divisor / 2) / work.divisor;
        const size_t plane_of_cells = static_cast<size_t>(blockIdx.y) * work.channels + channel;
        out[(plane_of_cells * work.rows + blockIdx.x) * work.cols + col] = min(mean, 4096ull);
    }
}

extern "C" __global__ void means_of_bytes(const unsigned char *const *planes, Work work, unsigned short *out) {
    means<Bytes>(planes, work, out);
}

extern "C" __global__ void means_of_words(const unsigned char *const *planes, Work work, unsigned short *out) {
    means<Words>(planes, work, out);
}

extern "C" __global__ void means_of_quads(const unsigned char *const *planes, Work work, unsigned short *out) {
    means<Quads>(planes, work, out);
}
