// What a kernel needs of Hopper (sm_90a), each instruction a function: barriers and copies in shared memory, products of a warpgroup.
// Instructions and layouts are those of NVIDIA's PTX ISA 8.0. testkit/hopper_on_cpu.hpp has the same functions for a processor.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE static __device__ __forceinline__
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define UNROLLED _Pragma("unroll")
#define LOOPED _Pragma("unroll 1")

extern __shared__ __align__(128) u8 dynamic_memory[];

// The address of the dynamic shared memory.
DEVICE u32 shared_memory() { return static_cast<u32>(__cvta_generic_to_shared(dynamic_memory)); }

DEVICE void start_barrier(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Make barriers that were started known to copies.
DEVICE void publish_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
}

DEVICE void wait(u32 barrier, u32 parity) {
    asm volatile(
        "{\n .reg .pred done;\n again:\n"
        " mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        " @!done bra again;\n}\n" ::"r"(barrier), "r"(parity) : "memory");
}

DEVICE void arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }

// Arrive, and let the phase end only when `bytes` more have been copied.
DEVICE void expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Begin to copy `bytes`, a multiple of 16 at addresses of 16, from global to shared memory.
DEVICE void load(u32 to, const void* from, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from),
                 "r"(bytes), "r"(barrier) : "memory");
}

// Begin to copy `bytes`, a multiple of 16, from the card's memory to its cache.
DEVICE void prefetch(const void* from, u32 bytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

// Load what no thread of the kernel writes.
DEVICE u32 constant(const u16* from) {
    u32 value;
    asm("ld.global.nc.b32 %0, [%1];" : "=r"(value) : "l"(from));
    return value;
}

DEVICE void together_in_warp() { __syncwarp(); }
DEVICE void together_in_block() { __syncthreads(); }
template <int registers> DEVICE void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers)); }
template <int registers> DEVICE void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers)); }

// Describe a matrix without swizzle whose rows of 8 half floats lie next to each other: `leading` is the bytes from 8 columns to the next.
DEVICE u64 descriptor(u32 address, u32 leading) {
    return static_cast<u64>((address & 0x3FFFF) >> 4) | static_cast<u64>(leading >> 4) << 16 | static_cast<u64>(128 >> 4) << 32;
}

#define F4(a, n) "+f"(a[n]), "+f"(a[n + 1]), "+f"(a[n + 2]), "+f"(a[n + 3])
#define F16(a, n) F4(a, n), F4(a, n + 4), F4(a, n + 8), F4(a, n + 12)

// Begin to add the product of 64 x 16 and 16 x 128 half floats to `sums`, or to replace them. Of warp w, thread 4 r + c has in sums[4 j + 2 i + k]
// row 16 w + 8 i + r, column 8 j + 2 c + k.
DEVICE void multiply(float (&sums)[64], u64 left, u64 right, int keep) {
    asm volatile(
        "{\n .reg .pred keep;\n setp.ne.b32 keep, %66, 0;\n"
        " wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, keep, 1, 1, 0, 0;\n}\n"
        : F16(sums, 0), F16(sums, 16), F16(sums, 32), F16(sums, 48)
        : "l"(left), "l"(right), "r"(keep));
}

DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Wait until at most `left` of the groups that were ended are unfinished.
template <int left> DEVICE void wait_for_products() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory"); }

DEVICE u32 halves(float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

DEVICE void floats(u32 both, float& low, float& high) {
    asm("{\n .reg .f16 a, b;\n mov.b32 {a, b}, %2;\n cvt.f32.f16 %0, a;\n cvt.f32.f16 %1, b;\n}\n" : "=f"(low), "=f"(high) : "r"(both));
}

// Transpose 8 x 8 half floats of a warp, of which thread 4 r + c has columns 2 c and 2 c + 1 of row r.
DEVICE u32 transposed(u32 value) {
    u32 result;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(value));
    return result;
}
