// A Slurm allocation as hosts: one node of a run on each of its machines, started by srun (LaunchSpec::Way::srun) and without a
// hostfile. Asks nothing of Slurm but the environment of the job. Thread rule: pure functions.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/nodes/hostfile.h"

namespace r1 {

// The value of a variable; "" when it is not set.
using Environment = std::function<std::string(const std::string& name)>;

// Inside an allocation: SLURM_JOB_ID is set.
bool in_slurm(const Environment& environment);

// One entry a machine of SLURM_JOB_NODELIST, with SLURM_CPUS_PER_TASK as its slots where that is set. Throws bad_input, naming
// the variable, when it is missing or malformed.
std::vector<HostEntry> slurm_hosts(const Environment& environment);

// Whether what srun said with its end is that the job is over (cancelled, out of time): no step of it can be started any more.
bool slurm_job_is_over(std::string_view said);

// "gpu[01-03,07],login" -> gpu01 gpu02 gpu03 gpu07 login: what `scontrol show hostnames` prints. At most kMaxHosts. Throws
// bad_input.
std::vector<std::string> expand_node_list(std::string_view list);

}  // namespace r1
