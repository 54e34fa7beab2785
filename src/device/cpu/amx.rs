//! The instructions of AMX. Stable Rust has no intrinsics for them: each block of assembly is a
//! whole loop. What they compute: [`super::tiles`].
#![allow(unsafe_code)]

use super::tiles::{EDGE, SIDE, Sums, Tile};
use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

/// Bytes from one row of sums to the next.
const SUMS_ROW: usize = EDGE * size_of::<f32>();
/// Bytes of a line.
const LINE: usize = SIDE * size_of::<u32>();

/// What `ldtilecfg` reads: eight tiles of 16 rows by 64 bytes.
#[repr(C, align(64))]
struct Shape {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPE: Shape = Shape {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether the processor has tiles of bf16, and the kernel lets this process use them, which it
/// has to be asked: their state is large.
pub fn allowed() -> bool {
    const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let leaves = __cpuid_count(0, 0).eax;
    if leaves < 7 || __cpuid_count(7, 0).edx & BF16_AND_TILES != BF16_AND_TILES {
        return false;
    }
    let mut refused = SYS_ARCH_PRCTL;
    // SAFETY: a call of the kernel that reads no memory of ours; it clobbers what is named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") refused,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    refused == 0
}

/// # Safety
/// Needs [`allowed`]; [`release`] has to follow.
pub unsafe fn configure() {
    // SAFETY: the shape is 64 bytes, as the instruction reads.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPE, options(nostack, readonly)) };
}

/// # Safety
/// Needs [`configure`] on this thread.
pub unsafe fn release() {
    // SAFETY: the caller's promise.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// [`super::tiles::emulated`] by the processor.
///
/// # Safety
/// Needs [`configure`] on this thread; each factor points to `count` tiles, at least one.
pub unsafe fn multiply(
    sums: &mut Sums,
    rows: [*const Tile; 2],
    panels: [*const Tile; 2],
    count: usize,
) {
    let upper = sums.0.as_mut_ptr();
    let lower = sums.0[SIDE..].as_mut_ptr();
    // SAFETY: tiles of sums are 16 rows of 64 bytes, `SUMS_ROW` apart, within `sums`; the
    // others are 1 KiB, one after the other, of which `count` are read.
    unsafe {
        asm!(
            "tileloadd tmm0, [{upper} + {sums_row}*1]",
            "tileloadd tmm1, [{upper} + {sums_row}*1 + 64]",
            "tileloadd tmm2, [{lower} + {sums_row}*1]",
            "tileloadd tmm3, [{lower} + {sums_row}*1 + 64]",
            "2:",
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloadd tmm6, [{c} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{d} + {line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{b} + {line}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 1024",
            "add {b}, 1024",
            "add {c}, 1024",
            "add {d}, 1024",
            "dec {count}",
            "jnz 2b",
            "tilestored [{upper} + {sums_row}*1], tmm0",
            "tilestored [{upper} + {sums_row}*1 + 64], tmm1",
            "tilestored [{lower} + {sums_row}*1], tmm2",
            "tilestored [{lower} + {sums_row}*1 + 64], tmm3",
            upper = in(reg) upper,
            lower = in(reg) lower,
            sums_row = in(reg) SUMS_ROW,
            line = in(reg) LINE,
            a = inout(reg) rows[0] => _,
            b = inout(reg) rows[1] => _,
            c = inout(reg) panels[0] => _,
            d = inout(reg) panels[1] => _,
            count = inout(reg) count => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
