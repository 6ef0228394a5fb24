// Slurm's lists of nodes, and its job's environment.
#include "runtime/nodes/slurm.h"

#include <gtest/gtest.h>

#include <map>

namespace r1 {
namespace {

using Names = std::vector<std::string>;

TEST(Slurm, a_list_of_nodes_is_expanded_as_scontrol_does) {
  EXPECT_EQ(expand_node_list("login"), Names{"login"});
  EXPECT_EQ(expand_node_list("gpu[01-03,07],login"), (Names{"gpu01", "gpu02", "gpu03", "gpu07", "login"}));
  EXPECT_EQ(expand_node_list("n[8-11]"), (Names{"n8", "n9", "n10", "n11"}));
  EXPECT_EQ(expand_node_list("n[098-101]"), (Names{"n098", "n099", "n100", "n101"}));
  EXPECT_EQ(expand_node_list("r[1-2]n[1,3]-ib"), (Names{"r1n1-ib", "r1n3-ib", "r2n1-ib", "r2n3-ib"}));
  EXPECT_EQ(expand_node_list("a.b,c-d_e"), (Names{"a.b", "c-d_e"}));
  EXPECT_EQ(expand_node_list("n[1-1024]").size(), 1024u);
}

TEST(Slurm, what_is_no_list_of_nodes_is_bad_input_with_a_hint) {
  for (const char* bad : {"",
                          ",",
                          "a,",
                          ",a",
                          "n[1-3",
                          "n[]",
                          "n[3-1]",
                          "n[a-b]",
                          "n[1-]",
                          "n[-3]",
                          "n[1,]",
                          "n1]",
                          "n[1-1025]",
                          "r[1-40]n[1-40]",
                          "n[99999999999]",
                          "n[0-999999999]",
                          "a b",
                          "a;b",
                          "-oX",
                          "$(id)",
                          "n[[1]]",
                          "[1-2],-x"}) {
    try {
      expand_node_list(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input) << bad;
      EXPECT_NE(e.message().find("SLURM_JOB_NODELIST"), std::string::npos);
      EXPECT_FALSE(e.hint().empty()) << bad;
    }
  }
}

// As srun of Slurm 22.05 said it.
TEST(Slurm, what_srun_says_of_a_job_that_is_over_is_told_from_what_may_pass) {
  for (const char* over : {"srun: exit code 1; it said: srun: error: Slurm job 2 has expired | srun: Check SLURM_JOB_ID "
                           "environment variable. Expired or invalid job 2",
                           "srun: error: Unable to confirm allocation for job 999: Invalid job id specified",
                           "srun: error: Unable to create step for job 8: Job/step already completing or completed",
                           "srun: Job allocation 8 has been revoked"})
    EXPECT_TRUE(slurm_job_is_over(over)) << over;
  for (const char* passes :
       {"srun: exit code 143; it said: slurmstepd-n1: error: *** STEP 2.2 ON n1 CANCELLED AT 2026-11-27T18:57:21 *** | srun: "
        "error: n1: task 0: Terminated",
        "srun: error: Task launch for StepId=3.0 failed on node n2: Communication connection failure",
        "srun: Job step creation temporarily disabled, retrying (Requested nodes are busy)", "srun: error: n1: task 0: Killed",
        ""})
    EXPECT_FALSE(slurm_job_is_over(passes)) << passes;
}

TEST(Slurm, an_allocation_is_one_node_a_machine) {
  std::map<std::string, std::string> set;
  const Environment environment = [&](const std::string& name) { return set[name]; };
  EXPECT_FALSE(in_slurm(environment));
  set = {{"SLURM_JOB_ID", "7"}, {"SLURM_JOB_NODELIST", "gpu[1-2]"}, {"SLURM_CPUS_PER_TASK", "8"}};
  EXPECT_TRUE(in_slurm(environment));
  const auto hosts = slurm_hosts(environment);
  ASSERT_EQ(hosts.size(), 2u);
  EXPECT_EQ(hosts[1].name, "node2");
  EXPECT_EQ(hosts[1].host, "gpu2");
  EXPECT_EQ(hosts[1].slots, 8);
  set.erase("SLURM_CPUS_PER_TASK");
  EXPECT_FALSE(slurm_hosts(environment)[0].slots.has_value());
  for (const char* bad : {"0", "x", "-1", "65537", "99999999999"}) {
    set["SLURM_CPUS_PER_TASK"] = bad;
    EXPECT_THROW(slurm_hosts(environment), Error) << bad;
  }
  set.clear();
  EXPECT_THROW(slurm_hosts(environment), Error);
}

}  // namespace
}  // namespace r1
