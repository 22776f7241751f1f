// A 3x3 convolution for Hopper's tensor cores on buffers of planes: N x chunks x (H + 2) x (W + 2) x 8 half floats with a border of zeros.
//
// 16 bytes are eight channels of a pixel, so that eight pixels of a chunk are a core matrix of an operand without swizzle, and so are the
// eight that begin a pixel to the right or a row below. A tile is loaded once, and a tap is only another address. Output channels
// are the rows of a product, 128 pixels of a picture's row its columns. Where a layer has 32 or 16 outputs, two or four rows of the
// picture share the rows of a product, with zeros in place of the taps that a row does not have.
//
// Constants of the compiler's command line: OUTPUTS (64, 32 or 16), GROUPS (products in hand in a warpgroup), STEPS and STEPS_ONE (of 16 channels,
// in all and of the first input), STAGES (steps in shared memory), RESIDENT (weights stay in shared memory, and each of the two
// warpgroups that multiply has tiles of its own), TURNS (they take turns), ACTIVATED, RESIDUALS.
#include <hopper.cuh>

constexpr int WIDTH = 128;                // output pixels of a tile in a row
constexpr int PITCH = WIDTH + 2;          // pixels of a row in shared memory
constexpr int STACKED = 64 / OUTPUTS;     // rows of the picture in one product
constexpr int OWN_ROWS = STACKED * GROUPS;
constexpr int ROWS = RESIDENT ? OWN_ROWS : 2 * OWN_ROWS;
constexpr int CHUNK_BYTES = (ROWS + 2) * PITCH * 16;
constexpr int WEIGHT_CHUNK = (2 * STACKED + 1) * OUTPUTS * 16;  // bytes of a column of taps, those of zeros included, of 8 channels
constexpr int WEIGHT_STEP = 3 * 2 * WEIGHT_CHUNK;
constexpr int STAGE_BYTES = (2 * CHUNK_BYTES + (RESIDENT ? 0 : WEIGHT_STEP) + 127) / 128 * 128;
constexpr int RINGS = RESIDENT ? 2 : 1;
constexpr int LAG = STEPS - 1 < STAGES - 2 ? STEPS - 1 : STAGES - 2;  // steps that the second warpgroup begins later, if the tile is shared
constexpr int BARRIER_BYTES = 256;
constexpr int RESIDENT_BYTES = RESIDENT ? STEPS * WEIGHT_STEP : 0;  // a multiple of 128

struct Source {  // strides in units of 16 bytes
    const u8* data;
    int image, chunk, row;
};

struct Target {  // strides in half floats
    u16* data;
    int image, chunk, row, pixel;
};

struct Tiles {
    int across, down, count;
};

struct Place {
    int image, y, x;
};

DEVICE Tiles tiles_of(int images, int height, int width) {
    const int across = (width + WIDTH - 1) / WIDTH, down = (height + ROWS - 1) / ROWS;
    return {across, down, across * down * images};
}

DEVICE Place place_of(const Tiles& tiles, int tile) {
    return {tile / tiles.across / tiles.down, tile / tiles.across % tiles.down * ROWS, tile % tiles.across * WIDTH};
}

struct Rest {
    Target out, near, far;
    float near_factor, far_factor;
    int height, width, chunks;
};

DEVICE u16* address(const Target& target, const Place& place, int chunk) {
    return target.data + static_cast<u64>(place.image) * target.image + static_cast<u64>(chunk) * target.chunk +
           static_cast<u64>(place.y + 1) * target.row + static_cast<u64>(place.x + 1) * target.pixel;
}

// Bring a tile's residual near, while the tile is multiplied.
DEVICE void announce(const Target& residual, const Place& place, const Rest& rest) {
    const int rows = min(ROWS, rest.height - place.y);
    for (int part = threadIdx.x & 31; part < rows * rest.chunks; part += 32) {
        const Place row = {place.image, place.y + part / rest.chunks, place.x};
        prefetch(address(residual, row, part % rest.chunks), 16 * min(WIDTH, rest.width - place.x));
    }
}

// Load the steps of tile after tile into a ring of stages; one warp does so.
DEVICE void produce(
    const Source& one, const Source& two, const u8* weights, u32 ring, u32 full, u32 empty, int first, int stride, const Tiles& tiles,
    const Rest& rest) {
    const int lane = threadIdx.x & 31;
    int stage = 0;
    u32 phase = 1;  // the first wait for each stage passes at once
    for (int tile = first; tile < tiles.count; tile += stride) {
        const Place place = place_of(tiles, tile);
        const u32 bytes = 16 * min(PITCH, rest.width + 2 - place.x);
        if (RESIDUALS > 0) announce(rest.near, place, rest);
        if (RESIDUALS > 1) announce(rest.far, place, rest);
        for (int step = 0; step < STEPS; step++) {
            wait(empty + 8 * stage, phase);
            const bool in_one = step < STEPS_ONE;
            const u8* data = in_one ? one.data : two.data;
            const int image = in_one ? one.image : two.image, along = in_one ? one.chunk : two.chunk, down = in_one ? one.row : two.row;
            const int chunk = 2 * (in_one ? step : step - STEPS_ONE);
            const u32 to = ring + stage * STAGE_BYTES;
            if (lane == 0) expect(full + 8 * stage, 2 * (ROWS + 2) * bytes + (RESIDENT ? 0 : WEIGHT_STEP));
            together_in_warp();
            for (int part = lane; part < 2 * (ROWS + 2); part += 32) {
                const int row = part >> 1, second = part & 1;
                // Rows below the picture come from the border above it, which is zero, too.
                const int from = place.y + row < rest.height + 2 ? place.y + row : 0;
                const u64 at = static_cast<u64>(place.image) * image + static_cast<u64>(chunk + second) * along +
                               static_cast<u64>(from) * down + place.x;
                load(to + second * CHUNK_BYTES + row * PITCH * 16, data + 16 * at, bytes, full + 8 * stage);
            }
            if (!RESIDENT && lane == 31)
                load(to + 2 * CHUNK_BYTES, weights + static_cast<u64>(step) * WEIGHT_STEP, WEIGHT_STEP, full + 8 * stage);
            if (++stage == STAGES) stage = 0, phase ^= 1;
        }
    }
}

// Begin to add the products of 16 channels, all taps, to `sums`, or to replace them.
DEVICE void add(float (&sums)[GROUPS][64], u64 taps, u64 pixels, int keep) {
    begin_products();
    UNROLLED
    for (int g = 0; g < GROUPS; g++) {
        UNROLLED
        for (int down = 0; down < STACKED + 2; down++) {
            UNROLLED
            for (int right = 0; right < 3; right++)
                multiply(sums[g], taps + (right * 2 * WEIGHT_CHUNK + (STACKED + 1 - down) * OUTPUTS * 16) / 16,
                         pixels + (g * STACKED + down) * PITCH + right, keep || down > 0 || right > 0);
        }
    }
    end_products();
}

// Load a residual's two channels of each pixel and chunk that this thread finishes. The loads are under way together.
DEVICE void fetch(u32 (&values)[16][2], const Target& target, const Place& pixel, const Rest& rest, int chunk) {
    const u16* from = address(target, pixel, chunk) + 2 * (threadIdx.x & 3);
    UNROLLED
    for (int j = 0; j < 16; j++) {
        UNROLLED
        for (int i = 0; i < 2; i++)
            values[j][i] = pixel.x + 8 * j < rest.width && chunk + i < rest.chunks ? constant(from + i * target.chunk) : 0;
        from += 8 * target.pixel;
    }
}

DEVICE u32 plus(u32 value, u32 residual, float factor) {
    float a, b, c, d;
    floats(value, a, b);
    floats(residual, c, d);
    return halves(a + factor * c, b + factor * d);
}

// Add bias, activation and residuals to 16 channels x 128 pixels, and write them. `place` is the first pixel.
DEVICE void finish(float (&sums)[64], const Place& place, const Rest& rest, int chunk, const float (&bias)[2], const float (&slopes)[2]) {
    if (place.y >= rest.height) return;
    const Place pixel = {place.image, place.y, place.x + static_cast<int>(threadIdx.x >> 2 & 7)};
    u32 near[16][2], far[16][2];
    if (RESIDUALS > 0) fetch(near, rest.near, pixel, rest, chunk);
    if (RESIDUALS > 1) fetch(far, rest.far, pixel, rest, chunk);
    u16* to = address(rest.out, pixel, chunk) + 2 * (threadIdx.x & 3);
    UNROLLED
    for (int j = 0; j < 16; j++) {
        UNROLLED
        for (int i = 0; i < 2; i++) {
            float low = sums[4 * j + 2 * i] + bias[i], high = sums[4 * j + 2 * i + 1] + bias[i];
            if (ACTIVATED) {
                low = low > 0 ? low : low * slopes[i];
                high = high > 0 ? high : high * slopes[i];
            }
            u32 value = transposed(halves(low, high));
            if (RESIDUALS > 0) value = plus(value, near[j][i], rest.near_factor);
            if (RESIDUALS > 1) value = plus(value, far[j][i], rest.far_factor);
            if (pixel.x + 8 * j < rest.width && chunk + i < rest.chunks) *reinterpret_cast<u32*>(to + i * rest.out.chunk) = value;
        }
        to += 8 * rest.out.pixel;
    }
}

// Multiply tile after tile; warpgroup `own`, 0 or 1, does so. `mine` is its first tile.
//
// With TURNS one finishes a tile while the other multiplies. With tiles of their own they alternate; with one tile, of which each has its
// rows, the second begins some steps after the first, and stays behind. A turn ends only when all four warps have had it, so that none
// waits for one that is long over.
DEVICE void consume(
    u32 resident, u32 ring, u32 full, u32 empty, u32 turns, const float* rows, const Rest& rest, int own, int mine, int stride,
    const Tiles& tiles) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3;
    const int stacked = 16 * warp / OUTPUTS, chunk = 16 * warp % OUTPUTS / 8;
    const int channel = 8 * chunk + (lane >> 2);
    const float bias[2] = {rows[channel], rows[channel + 8]};
    const float slopes[2] = {rows[OUTPUTS + channel], rows[OUTPUTS + channel + 8]};
    const int above = RESIDENT ? 0 : own * OWN_ROWS;
    const u32 my_turn = turns + 8 * own, other_turn = turns + 8 - 8 * own;
    int stage = 0;
    u32 phase = 0, turn = own ? 0 : 1;  // the first warpgroup's first turn has come
    float sums[GROUPS][64];
    for (int tile = mine; tile < tiles.count; tile += stride) {
        const auto begin = [&](int step, int keep) {
            if (TURNS && !RESIDENT && own == 0 && tile == mine && step == LAG && lane == 0) arrive(other_turn);
            wait(full + 8 * stage, phase);
            const u32 pixels = ring + stage * STAGE_BYTES;
            const u32 taps = RESIDENT ? resident + step * WEIGHT_STEP : pixels + 2 * CHUNK_BYTES;
            add(sums, descriptor(taps, WEIGHT_CHUNK), descriptor(pixels + above * PITCH * 16, CHUNK_BYTES), keep);
        };
        const auto next = [&] {
            const u32 used = empty + 8 * stage;
            if (++stage == STAGES) stage = 0, phase ^= 1;
            return used;
        };
        if (TURNS && (RESIDENT || (own == 1 && tile == mine))) wait(my_turn, turn);
        turn ^= 1;
        begin(0, 0);
        u32 used = next();
        LOOPED
        for (int step = 1; step < STEPS; step++) {
            begin(step, 1);
            wait_for_products<1>();
            if (lane == 0) arrive(used);
            used = next();
        }
        if (TURNS && RESIDENT && lane == 0) arrive(other_turn);
        wait_for_products<0>();
        if (lane == 0) arrive(used);
        const Place place = place_of(tiles, tile);
        UNROLLED
        for (int g = 0; g < GROUPS; g++)
            finish(sums[g], {place.image, place.y + above + g * STACKED + stacked, place.x}, rest, chunk, bias, slopes);
    }
}

// `weights` are as workers.card.planes.packed makes them; `rows` are OUTPUTS biases and as many slopes.
KERNEL(384) convolve(Source one, Source two, const u8* weights, const float* rows, Rest rest, int images) {
    const u32 memory = shared_memory();
    const u32 full = memory, empty = full + 8 * RINGS * STAGES, ready = full + 16 * RINGS * STAGES, turns = ready + 8;
    const u32 resident = memory + BARRIER_BYTES, ring = resident + RESIDENT_BYTES;
    if (threadIdx.x == 0) {
        for (int n = 0; n < RINGS * STAGES; n++) {
            start_barrier(full + 8 * n, 1);
            start_barrier(empty + 8 * n, RESIDENT ? 4 : 8);  // warps that read it
        }
        start_barrier(ready, 1);
        start_barrier(turns, 4);
        start_barrier(turns + 8, 4);
        publish_barriers();
    }
    together_in_block();
    const Tiles tiles = tiles_of(images, rest.height, rest.width);
    const int group = threadIdx.x >> 7;  // 0 loads, 1 and 2 multiply
    if (group == 0) {
        fewer_registers<40>();
        const int warp = threadIdx.x >> 5;
        if (RESIDENT && threadIdx.x == 0) {
            expect(ready, RESIDENT_BYTES);
            for (int step = 0; step < STEPS; step++)
                load(resident + step * WEIGHT_STEP, weights + step * WEIGHT_STEP, WEIGHT_STEP, ready);
        }
        if (warp < RINGS)
            produce(one, two, weights, ring + warp * STAGES * STAGE_BYTES, full + 8 * warp * STAGES, empty + 8 * warp * STAGES,
                    RINGS * blockIdx.x + warp, RINGS * gridDim.x, tiles, rest);
    } else {
        more_registers<232>();
        const int own = group - 1, ring_of = RESIDENT ? own : 0;
        if (RESIDENT) wait(ready, 0);
        consume(resident, ring + ring_of * STAGES * STAGE_BYTES, full + 8 * ring_of * STAGES, empty + 8 * ring_of * STAGES, turns, rows,
                rest, own, RINGS * blockIdx.x + ring_of, RINGS * gridDim.x, tiles);
    }
}
