// Ranks of a collective on cards, each in a thread or a process of its own with a card of its own, by NCCL (which the plugin
// opens at run time). Sums are ours, in the order of kernels/collective.h: NCCL only carries bytes, so no bit depends on its
// version, algorithm or number of channels.
//
// Less than kernels/collective.h promises: a rank that left or never came is not named; the others fail after `patience_s`,
// also where it is only slow, and say so. NCCL authenticates nobody and encrypts nothing: its sockets are bound to the loopback
// interface unless the environment variable NCCL_SOCKET_IFNAME names another one (docs/security.md). Thread rule: as
// Collective; new_card_ranks_id from any thread.
#pragma once

#include <array>
#include <memory>

#include "kernels/collective.h"

namespace r1 {

// What rank 0 makes and all ranks of one collective are given (ncclUniqueId).
using CardRanksId = std::array<char, 128>;

// `card`: a device of the plugin. Throws failure: there is no NCCL.
CardRanksId new_card_ranks_id(Device& card);
// Waits for all ranks. Throws failure, with NCCL's words.
std::unique_ptr<Collective> card_ranks(Device& card, const CardRanksId& id, int64_t rank, int64_t ranks,
                                       double patience_s = 600);

}  // namespace r1
