// The instruction set of the CPU's kernels: the best of this machine, or the one that R1_ISA names.
//
// It is chosen once a process, before the first kernel runs, for Highway's kernels, oneDNN and our own products alike, and it
// is part of the numeric fingerprint, as other sets have other bits. Not about devices: "reference" knows no instruction set.
// Thread rule: any thread.
#pragma once

#include <string>

namespace r1::cpu {

// From the least to the most.
enum class Isa {
  scalar,        // any x86-64
  avx2,          // with FMA; bf16 products by multiply-adds (kernels/cpu/bf16_matmul.h)
  avx512,        // F, BW, CD, DQ, VL; bf16 products likewise, with the same bits
  avx512_bf16,   // bf16 products by chains of vdpbf16ps (kernels/cpu/bf16_matmul.h)
  amx_onednn,    // bf16 products by oneDNN on AMX tiles
  amx_software,  // as amx, the tile instructions computed by AVX-512: for tests on any machine with avx512_bf16
  amx,           // bf16 products and attention of our own on AMX tiles (amx_matmul.h, attention_tiles-inl.h): the default where
                 // the CPU has them and they compute as tiles.h says
};
inline constexpr Isa kEveryIsa[] = {Isa::scalar,     Isa::avx2,         Isa::avx512, Isa::avx512_bf16,
                                    Isa::amx_onednn, Isa::amx_software, Isa::amx};
const char* isa_name(Isa isa);  // "avx512_bf16"

// Whether this machine, and its kernel, can run it.
bool has_isa(Isa isa);
// What is taken where nobody asks.
Isa default_isa();
// What R1_ISA=`asked` gives; the default for "". Throws r1::Error (bad input) where it names none that is known, or one that
// this machine lacks.
Isa chosen_isa(const std::string& asked);

// The one of this process, by R1_ISA. Throws as chosen_isa.
Isa isa();

// Whether bf16 products are our own kernels'.
inline bool own_bf16(Isa isa) { return isa >= Isa::avx2 && isa != Isa::amx_onednn; }
// Whether these know weights as the rows of a product (Bf16Matmul::c_transposed).
inline bool has_weights_as_rows(Isa isa) { return own_bf16(isa) && isa != Isa::avx2; }
// Whether it has instructions for bf16: vdpbf16ps, vcvtneps2bf16.
inline bool has_bf16_pairs(Isa isa) { return isa >= Isa::avx512_bf16; }
// Whether the own kernels, attention's too, are those of tiles.
inline bool uses_tiles(Isa isa) { return isa >= Isa::amx_software; }

}  // namespace r1::cpu
