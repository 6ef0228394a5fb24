// Graphs that are wrong: each with the one error it gets - place, message and hint.
#include <gtest/gtest.h>

#include "test_roles.h"

namespace r1 {
namespace {

struct Bad {
  const char* name;
  std::string text;
  const char* error;  // without the file: "line:column: message (hint)"
};

// A stage `s` whose body is `body`, on lines 2 and following.
std::string stage(const std::string& body) { return "digraph g { subgraph cluster_s {\n" + body + "\n} }"; }
// A whole RL stage; `change` comes after its nodes, on line 6.
std::string rl(const std::string& edges) {
  return stage(
      "p [role=prompter, source=x];\ng [role=generator];\nj [role=judge, rewards=a];\n"
      "f [role=filter]; r [role=reference]; t [role=trainer];\n" +
      edges);
}
std::string two_stages(const std::string& between) {
  return "digraph g {\nsubgraph cluster_a { a [role=trainer] b [role=trainer] }\nsubgraph cluster_c { c [role=trainer] }\n" +
         between + "\n}";
}

std::vector<Bad> bad_graphs() {
  return {
      // ---- tokens and grammar
      {"empty", "", "1:1: expected 'digraph', found the end of the file (digraph NAME { ... })"},
      {"undirected", "graph g { }", "1:1: the graph is undirected (write digraph)"},
      {"strict", "strict digraph g { }", "1:1: 'strict' is not supported (write digraph without it)"},
      {"no_brace", "digraph g\n[", "2:1: expected '{', found '['"},
      {"open_brace", "digraph g {\n a", "1:11: this '{' is never closed (end it with })"},
      {"open_string", stage("p [role=\"prompter];"), "2:9: this string is never closed (end it with \")"},
      {"open_comment", stage("/* p"), "2:1: this comment is never closed (end it with */)"},
      {"unquoted_colour", stage("t [role=trainer, color= #ff0000]"),
       "2:25: #ff0000 is not a DOT value (quote it: color=\"#ff0000\")"},
      {"open_list", stage("p [role=prompter;\nq [role=judge];"),
       "2:3: this '[' is never closed: ']' is missing before line 3, column 3"},
      {"open_list_at_brace", stage("p [role=prompter\n}"),
       "2:3: this '[' is never closed: ']' is missing before line 3, column 1"},
      {"stray_text", stage("t [role=trainer]") + "\nx",
       "4:1: unexpected 'x' after the end of the graph (a file holds one graph)"},
      {"brace_too_many", stage("t [role=trainer]") + "}",
       "3:4: unexpected '}' after the end of the graph (is there a '}' too many?)"},
      {"unquoted_exponent", stage("t [role=trainer, lr=3e-4];"), "2:21: 3e-4 is not a DOT value (quote it: lr=\"3e-4\")"},
      {"unquoted_colon", stage("p [role=prompter, source=tiny:all];"),
       "2:26: tiny:all is not a DOT value (quote it: source=\"tiny:all\")"},
      {"unquoted_path", stage("p [role=prompter, source=/data/x];"),
       "2:26: /data/x is not a DOT value (quote it: source=\"/data/x\")"},
      {"unquoted_keyword", stage("p [role=graph]"), "2:9: graph is not a DOT value (quote it: role=\"graph\")"},
      {"unquoted_blank", stage("j [role=judge, rewards=a + b]"),
       "2:26: expected an attribute or ']', found '+' (quote values that hold blanks or punctuation)"},
      {"no_value", stage("t [role=trainer, lr=, kl=1]"), "2:21: attribute 'lr' has no value"},
      {"no_equals", stage("t [role=trainer, exact]"),
       "2:18: attribute 'exact' has no value (write exact=VALUE; quote values that hold blanks)"},
      {"html", stage("t [role=trainer, label=<b>]"), "2:24: HTML strings are not supported (write a quoted string)"},
      {"concatenation", stage("t [role=\"train\" + er]"), "2:19: expected a quoted string after '+', found 'er'"},
      {"port", rl("p:n -> g"), "6:2: ports are not supported (write the node alone: p)"},
      {"undirected_edge", rl("p -- g"), "6:3: '--' is an edge of undirected graphs (write ->)"},
      {"subgraph_end", rl("p -> { g }"), "6:6: a subgraph cannot be the end of an edge (write one edge for each node)"},
      {"subgraph_start", "digraph g { subgraph cluster_a { t [role=trainer] } -> t }",
       "1:53: a subgraph cannot be the end of an edge (write one edge for each node)"},
      {"anonymous_subgraph", rl("{ p; g }"),
       "6:1: a subgraph without a name (stages are called cluster_NAME; other subgraphs are not supported)"},
      {"not_a_cluster", "digraph g { subgraph rl { } }",
       "1:22: subgraph 'rl' is not a stage (stages are called cluster_NAME; other subgraphs are not supported)"},
      {"nested", stage("subgraph cluster_b { }"),
       "2:10: stage 'b' lies inside stage 's' (stages do not nest; is a '}' missing before it?)"},
      {"node_list", rl("p, g [samples=2]"), "6:2: a list of nodes is not supported (write one statement for each node)"},
      {"dangling_arrow", rl("p -> ;"), "6:6: expected a node after '->', found ';'"},
      {"bad_name", stage("a.b [role=trainer]"),
       "2:1: 'a.b' is not a name (names hold letters, digits and _ and start with a letter)"},
      {"bad_name_in_edge", rl("1x->p"), "6:1: '1x' is not a name (names hold letters, digits and _ and start with a letter)"},
      {"keyword_name", stage("\"node\" [role=trainer]"),
       "2:1: a node cannot be called 'node' (--set node.ATTR=VALUE would mean every node)"},
      {"twice_in_list", stage("t [role=trainer, lr=1,\n lr=2]"), "3:2: attribute 'lr' is given twice (first in line 2)"},
      // ---- nodes and stages
      {"no_stage", "digraph g { }", "1:1: the graph has no stage (a stage is subgraph cluster_NAME { ... })"},
      {"stage_without_role", stage("m [kind=model, path=x];"), "1:22: stage 's' has no role (NODE [role=...])"},
      {"stage_twice", "digraph g {\nsubgraph cluster_a { t [role=trainer] }\nsubgraph cluster_a { u [role=trainer] }\n}",
       "3:10: there are two stages called 'a' (the first is in line 2)"},
      {"no_role", stage("t;"),
       "2:1: node 't' has neither role nor kind (t [role=...] for an actor, [kind=...] for model or dataset)"},
      {"role_and_kind", stage("t [role=trainer, kind=model]"),
       "2:18: node 't' has both a role and a kind (an artifact has no role)"},
      {"unknown_role", stage("t [role=trianer]"), "2:9: there is no role 'trianer' (did you mean 'trainer'?)"},
      {"kind_as_role", stage("t [role=model]"), "2:9: there is no role 'model' (write kind=model)"},
      {"unlike_role", stage("t [kind=zebra]"), "2:9: there is no kind 'zebra' (kinds are model and dataset)"},
      {"declared_twice", stage("t [role=trainer];\nt [lr=1];"), "3:1: node 't' is declared twice (first in line 2)"},
      {"outside", "digraph g {\nt [role=trainer];\n}",
       "2:1: node 't' (trainer) lies outside every stage (declare it inside subgraph cluster_NAME { ... })"},
      {"too_early", stage("p -> t;\np [role=prompter, source=x]; t [role=trainer];"),
       "2:1: node 'p' is used before it is declared (move this edge below line 3)"},
      {"undeclared", rl("p -> gg"), "6:6: node 'gg' is not declared"},
      {"undeclared_near", two_stages("a -> cc; abc -> c"), "4:6: node 'cc' is not declared"},
      {"undeclared_typo", stage("policy [role=generator];\nprompts [role=prompter, source=x]; prompts -> plicy"),
       "3:47: node 'plicy' is not declared (did you mean 'policy'?)"},
      {"claimed", "digraph g {\nsubgraph cluster_a { a [role=trainer] }\nsubgraph cluster_b { b [role=trainer]\na -> b }\n}",
       "4:1: stage 'b' mentions node 'a', declared in line 2 outside it (write this edge outside of the stages: in DOT a "
       "mention claims the node)"},
      // ---- attributes
      {"unknown_attribute", stage("t [role=trainer, unitl=x]"),
       "2:18: a trainer has no attribute 'unitl' (did you mean 'until'?)"},
      {"others_attribute", stage("t [role=trainer, samples=8]"),
       "2:18: a trainer has no attribute 'samples' (a generator has it)"},
      {"cosmetic_typo", stage("t [role=trainer, colour=red]"),
       "2:18: a trainer has no attribute 'colour' (did you mean 'color'?)"},
      {"not_utf8", stage("t [role=trainer,\n label=\"caf\xe9\"]"), "3:8: this text is not UTF-8 (save the file as UTF-8)"},
      {"not_utf8_word", stage("caf\xe9 [role=trainer]"), "2:1: this text is not UTF-8 (save the file as UTF-8)"},
      {"stage_attribute", stage("max_second=5; t [role=trainer]"),
       "2:1: a stage has no attribute 'max_second' (did you mean 'max_seconds'?)"},
      {"graph_attribute", "digraph g {\n seeed=5; }", "2:2: the graph has no attribute 'seeed' (did you mean 'seed'?)"},
      {"node_attribute_on_graph", "digraph g { graph [samples=5] }",
       "1:20: the graph has no attribute 'samples' (a generator has it: node [samples=...])"},
      {"edge_attribute", rl("p -> g [capacty=2]"),
       "6:9: p -> g: an edge that carries prompts has no attribute 'capacty' (did you mean 'capacity'?)"},
      {"edge_attribute_of_other_payload", rl("p -> g [staleness=2]"),
       "6:9: p -> g: an edge that carries prompts has no attribute 'staleness' (edges that carry weights have it)"},
      {"useless_node_default", stage("node [temprature=1]; t [role=trainer]"),
       "2:7: no node after this default has an attribute 'temprature' (did you mean 'temperature'?)"},
      {"late_node_default", stage("t [role=trainer]; node [lr=1]"),
       "2:25: no node after this default has an attribute 'lr' (defaults apply to what is declared after them, inside the same "
       "braces)"},
      {"useless_edge_default", rl("edge [stalenes=1] p -> g -> j -> f"),
       "6:7: no edge after this default has an attribute 'stalenes' (did you mean 'staleness'?)"},
      {"default_carries", rl("edge [carries=groups]"),
       "6:7: 'carries' cannot be a default (write it at each edge that needs it)"},
      {"not_an_integer", stage("g [role=generator, samples=\"3.5\"]"), "2:28: g.samples must be an integer, got '3.5'"},
      {"not_a_number", stage("t [role=trainer,\n lr=fast]"), "3:5: t.lr must be a number, got 'fast'"},
      {"infinite", stage("t [role=trainer, lr=inf]"), "2:21: t.lr must be a number, got 'inf'"},
      {"too_small", stage("g [role=generator, samples=0]"), "2:28: g.samples must be at least 1, got 0"},
      {"out_of_range", stage("t [role=trainer, lr=2]"), "2:21: t.lr must be from 0 to 1, got 2"},
      {"not_a_flag", stage("t [role=trainer, exact=yes]"), "2:24: t.exact must be true or false, got 'yes'"},
      {"not_a_choice", stage("f [role=filter, fill=shrnk]"),
       "2:22: f.fill must be shrink or resample, got 'shrnk' (did you mean 'shrink'?)"},
      {"missing_attribute", stage("p [role=prompter]"), "2:1: p needs the attribute 'source'"},
      {"empty_attribute", stage("p [role=prompter, source=\"\"]"), "2:26: p.source must not be empty"},
      {"bad_graph_value", "digraph g { seed=-1; " + stage("t [role=trainer]").substr(11),
       "1:18: graph.seed must be at least 0, got -1"},
      {"bad_edge_value", rl("p -> g [capacity=0]"), "6:18: p -> g.capacity must be at least 1, got 0"},
      // ---- types of edges
      {"impossible", rl("p -> g -> j -> t"),
       "6:11: j -> t: a judge gives scored, but a trainer takes groups, examples or pairs (put a filter between them)"},
      {"impossible_without_help", rl("p -> g -> j -> r"),
       "6:11: j -> r: a judge gives scored, but a reference takes groups or weights "
       "(put a filter between them)"},
      {"impossible_and_far", rl("p -> j"),
       "6:1: p -> j: a prompter gives prompts, but a judge takes trajectories (put a generator between them)"},
      {"takes_nothing", rl("t -> p"), "6:1: t -> p: a prompter takes nothing"},
      {"ambiguous", two_stages("a -> c [carries=weights];\nb -> c"),
       "5:1: b -> c: c takes weights from one node only, and that is a (see line 4)"},
      {"ambiguous_kind", rl("p -> g -> j -> f -> t"),
       "6:16: f -> t: this edge could carry groups or examples (say which: [carries=groups])"},
      {"ambiguous_artifact",
       "digraph g {\nm [kind=dataset, path=x]; n [kind=model, path=y];\nsubgraph cluster_a { t [role=trainer] }\nn -> t; m -> "
       "t; m -> n\n}",
       "4:17: m -> n: nothing flows into a model (artifacts only give; trainers save their checkpoints by themselves)"},
      {"carries_not_given", rl("p -> g -> j -> f; f -> t [carries=group]"),
       "6:35: f -> t: a filter does not give 'group'; it gives groups, examples and dataset (did you mean 'groups'?)"},
      {"carries_not_taken", two_stages("a -> c [carries=model]"),
       "4:17: a -> c: a trainer does not take 'model'; it takes weights and dataset"},
      {"does_not_cross",
       "digraph g {\nsubgraph cluster_a { p [role=prompter, source=x] }\nsubgraph cluster_b { g [role=generator] }\np -> g\n}",
       "4:1: p -> g: prompts cannot go from one stage to another (only finished artifacts cross stages: weights, models, "
       "datasets)"},
      {"must_cross", rl("p -> g -> j -> f; t -> j"),
       "6:19: t -> j: model must come from another stage (it is a finished artifact, not a live channel)"},
      {"self_loop", rl("t -> t"), "6:1: t -> t: an edge from a node to itself"},
      {"missing_input", rl("p -> g; j -> f"), "4:1: j (judge) has no edge that brings it trajectories (write g -> j)"},
      {"missing_input_without_giver", stage("g [role=generator]"),
       "2:1: g (generator) has no edge that brings it prompts (a prompter gives prompts)"},
      {"two_givers", rl("q [role=prompter, source=x]; p -> g;\nq -> g -> j -> f"),
       "7:1: q -> g: g takes prompts from one node only, and that is p (see line 6)"},
      {"two_takers", rl("h [role=generator]; p -> g; p -> h;"),
       "6:29: p -> h: p gives prompts to one node only, and that is g (see line 6)"},
      {"same_edge_twice", rl("p -> g;\np -> g;"),
       "7:1: p -> g: there are two such edges that carry prompts (the first is in line 6)"},
      {"unconnected", stage("t [role=trainer]; p [role=prompter, source=x];"), "2:1: t (trainer) is connected to nothing"},
      {"unused_artifact", "digraph g { m [kind=model, path=x]; subgraph cluster_a { t [role=trainer] } }",
       "1:13: m (model) is connected to nothing"},
      {"stage_cycle",
       "digraph g {\nsubgraph cluster_a { a [role=trainer] }\nsubgraph cluster_b { b [role=trainer] }\nsubgraph cluster_c { c "
       "[role=trainer] }\n"
       "b -> c [carries=weights];\nc -> a -> b [carries=weights]; }",
       "6:6: stages wait for each other: a -> b -> c -> a (remove one of b -> c in line 5, c -> a in line 6, a -> b in line "
       "6)"},
      // ---- the roles' own checks
      {"role_check", stage("p [role=prompter, source=x]; g [role=generator];\nj [role=judge, rewards=\"!!\"]; p -> g -> j"),
       "3:24: expected a reward, found '!!' (rewards are accuracy and format)"},
  };
}

TEST(BadGraphs, each_gets_one_clear_error_with_its_place) {
  for (const Bad& bad : bad_graphs()) {
    try {
      load_graph_text(bad.text, "g", test::roles());
      ADD_FAILURE() << bad.name << " was accepted:\n" << bad.text;
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()), std::string("g:") + bad.error) << bad.name;
      EXPECT_EQ(e.code(), ExitCode::bad_input) << bad.name;
    }
  }
  EXPECT_GE(bad_graphs().size(), 25u);
}

TEST(BadGraphs, no_prefix_and_no_single_lost_byte_of_a_good_graph_crashes) {
  const std::string good = test::kExample;
  int accepted = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    for (const std::string& text : {good.substr(0, i), good.substr(0, i) + good.substr(i + 1)}) {
      try {
        load_graph_text(text, "g", test::roles());
        ++accepted;
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ExitCode::bad_input) << text;
        EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
      }
    }
  }
  EXPECT_GT(accepted, 50);  // lost blanks and letters of labels
  EXPECT_LT(accepted, static_cast<int>(good.size()));
}

}  // namespace
}  // namespace r1
