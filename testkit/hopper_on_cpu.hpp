// The functions of workers/card/hopper.cuh on a processor, each thread of a block a thread, so that a kernel's indices, layouts and barriers are
// tested without a card. Copies and products are done at once, and a block that waits for ever aborts.
#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE static inline
#define KERNEL(threads) constexpr int THREADS = threads; static void
#define UNROLLED
#define LOOPED

using std::min;

struct Index {
    int x;
};
thread_local Index threadIdx, blockIdx;
static Index gridDim;

struct Barrier {
    int arrivals, missing;
    long bytes;
    u32 phase;
};

constexpr int MEMORY = 227 * 1024;
constexpr u8 UNWRITTEN = 0x7F;  // two of them are a NaN
static u8 memory_of_block[MEMORY];
static std::mutex mutex;
static std::condition_variable changed;
static std::vector<Barrier*> barriers(MEMORY / 8);
static std::barrier<>* block_barrier;
static std::vector<std::barrier<>*> warp_barriers;
static u32 exchanged[32][32];

static inline u8* at(u32 address, u32 bytes) {
    if (address + bytes > MEMORY) std::fprintf(stderr, "shared memory ends before %u\n", address + bytes), std::abort();
    return memory_of_block + address;
}

DEVICE u32 shared_memory() { return 0; }

DEVICE void start_barrier(u32 barrier, u32 arrivals) {
    delete barriers[barrier / 8];
    barriers[barrier / 8] = new Barrier{static_cast<int>(arrivals), static_cast<int>(arrivals), 0, 0};
}

DEVICE void publish_barriers() {}

static inline void settle(Barrier& barrier) {
    if (barrier.missing == 0 && barrier.bytes == 0) {
        barrier.phase ^= 1;
        barrier.missing = barrier.arrivals;
        changed.notify_all();
    }
}

DEVICE void wait(u32 barrier, u32 parity) {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, std::chrono::seconds(60), [&] { return barriers[barrier / 8]->phase != parity; }))
        std::fprintf(stderr, "thread %d waits for ever at %u\n", threadIdx.x, barrier), std::abort();
}

static inline void arrive_with(u32 barrier, long bytes, int arrivals) {
    std::lock_guard lock(mutex);
    Barrier& here = *barriers[barrier / 8];
    if (here.missing < arrivals) std::fprintf(stderr, "too many arrivals\n"), std::abort();
    here.bytes += bytes;
    here.missing -= arrivals;
    settle(here);
}

DEVICE void arrive(u32 barrier) { arrive_with(barrier, 0, 1); }
DEVICE void expect(u32 barrier, u32 bytes) { arrive_with(barrier, bytes, 1); }

DEVICE void load(u32 to, const void* from, u32 bytes, u32 barrier) {
    if (to % 16 || bytes % 16 || reinterpret_cast<u64>(from) % 16) std::fprintf(stderr, "a copy not of 16 bytes\n"), std::abort();
    std::memcpy(at(to, bytes), from, bytes);
    arrive_with(barrier, -static_cast<long>(bytes), 0);
}

DEVICE void prefetch(const void* from, u32 bytes) {
    if (bytes % 16 || reinterpret_cast<u64>(from) % 16) std::fprintf(stderr, "a prefetch not of 16 bytes\n"), std::abort();
}

DEVICE u32 constant(const u16* from) {
    u32 value;
    std::memcpy(&value, from, 4);
    return value;
}

DEVICE void together_in_warp() { warp_barriers[threadIdx.x >> 5]->arrive_and_wait(); }
DEVICE void together_in_block() { block_barrier->arrive_and_wait(); }
template <int registers> DEVICE void fewer_registers() {}
template <int registers> DEVICE void more_registers() {}

DEVICE float from_half(u16 value) {
    _Float16 half;
    std::memcpy(&half, &value, 2);
    return half;
}

DEVICE u16 to_half(float value) {
    const _Float16 half = static_cast<_Float16>(value);
    u16 result;
    std::memcpy(&result, &half, 2);
    return result;
}

DEVICE u64 descriptor(u32 address, u32 leading) { return static_cast<u64>(address >> 4) | static_cast<u64>(leading >> 4) << 16; }

DEVICE float element(u64 matrix, int row, int column) {
    const u32 start = (matrix & 0xFFFF) << 4, leading = (matrix >> 16 & 0xFFFF) << 4;
    u16 value;
    std::memcpy(&value, at(start + column / 8 * leading + row * 16 + column % 8 * 2, 2), 2);
    return from_half(value);
}

DEVICE void multiply(float (&sums)[64], u64 left, u64 right, int keep) {
    const int warp = threadIdx.x >> 5 & 3, r = threadIdx.x >> 2 & 7, c = threadIdx.x & 3;
    for (int n = 0; n < 64; n++) {
        const int row = 16 * warp + 8 * (n >> 1 & 1) + r, column = 8 * (n >> 2) + 2 * c + (n & 1);
        float sum = keep ? sums[n] : 0;
        for (int k = 0; k < 16; k++) sum += element(left, row, k) * element(right, column, k);
        sums[n] = sum;
    }
}

// A warp does these as one, so that none of its threads still reads, or waits for, what another has left behind.
DEVICE void begin_products() { together_in_warp(); }
DEVICE void end_products() { together_in_warp(); }
template <int left> DEVICE void wait_for_products() { together_in_warp(); }

DEVICE u32 halves(float low, float high) { return to_half(low) | static_cast<u32>(to_half(high)) << 16; }

DEVICE void floats(u32 both, float& low, float& high) {
    low = from_half(both & 0xFFFF);
    high = from_half(both >> 16);
}

DEVICE u32 transposed(u32 value) {
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, row = lane >> 2, column = 2 * (lane & 3);
    exchanged[warp][lane] = value;
    together_in_warp();
    const auto element_of = [&](int r, int c) { return exchanged[warp][4 * r + c / 2] >> 16 * (c % 2) & 0xFFFF; };
    const u32 result = element_of(column, row) | element_of(column + 1, row) << 16;
    together_in_warp();
    return result;
}

// Run `kernel`, which takes no arguments, as `blocks` blocks of `threads` threads, one block after the other.
template <class Kernel> void run_blocks(int blocks, int threads, Kernel kernel) {
    gridDim.x = blocks;
    for (int block = 0; block < blocks; block++) {
        std::memset(memory_of_block, UNWRITTEN, MEMORY);
        block_barrier = new std::barrier<>(threads);
        warp_barriers.clear();
        for (int warp = 0; warp < threads / 32; warp++) warp_barriers.push_back(new std::barrier<>(32));
        std::vector<std::thread> running;
        for (int thread = 0; thread < threads; thread++)
            running.emplace_back([=] {
                threadIdx.x = thread;
                blockIdx.x = block;
                kernel();
            });
        for (auto& one : running) one.join();
        delete block_barrier;
        for (auto* one : warp_barriers) delete one;
    }
}
