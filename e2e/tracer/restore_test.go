package tracer

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// restoreCase is an input of Restore, applied to New(). The same cases are
// given to real kernels in kernel_test.go.
type restoreCase struct {
	name  string
	ipv6  bool
	text  string
	fails string   // part of the error; empty if there is none
	want  []string // the lines of String that are not in New().String(), in order

	stricter bool   // refused here, but taken by the kernel
	skip     string // the variant ("legacy" or "nft") that does something else, see the name
}

// in wraps lines in a table that has the chains A and B.
func in(table string, lines ...string) string {
	return "*" + table + "\n:A - [0:0]\n:B - [0:0]\n" + strings.Join(lines, "\n") + "\nCOMMIT\n"
}

// bare wraps lines in a table and nothing else.
func bare(table string, lines ...string) string {
	return "*" + table + "\n" + strings.Join(append(lines, "COMMIT\n"), "\n")
}

var commandCases = []restoreCase{
	{name: "empty input changes nothing", text: ""},
	{name: "comments and empty lines are skipped", text: "# x\n\n" + bare("filter", "# y", "", "-A INPUT -j DROP"), want: []string{"-A INPUT -j DROP"}},
	{name: "counters are read everywhere", text: bare("filter", ":INPUT DROP [1:2]", ":A - [3:4]", "[5:6] -A A -j DROP"), want: []string{":INPUT DROP [0:0]", ":A - [0:0]", "-A A -j DROP"}},
	{name: "a built-in chain line sets the policy and keeps the rules", text: bare("filter", "-A INPUT -j ACCEPT", ":INPUT DROP [0:0]"), want: []string{":INPUT DROP [0:0]", "-A INPUT -j ACCEPT"}},
	{name: "a built-in chain line without policy changes nothing", text: bare("filter", ":INPUT - [0:0]")},
	{name: "a user chain line flushes the chain", text: bare("filter", ":A - [0:0]", "-A A -j DROP", ":A - [0:0]", "-A A -j ACCEPT"), want: []string{":A - [0:0]", "-A A -j ACCEPT"}},
	{name: "flushing by chain line survives another COMMIT", text: bare("filter", ":A - [0:0]", "-A A -j DROP") + bare("filter", ":A - [0:0]"), want: []string{":A - [0:0]"}},
	{name: "a table may come twice", text: bare("filter", "-A INPUT -j ACCEPT") + bare("filter", "-A INPUT -j DROP"), want: []string{"-A INPUT -j ACCEPT", "-A INPUT -j DROP"}},
	{name: "an error keeps earlier commits", text: bare("filter", "-A INPUT -j DROP") + bare("nat", "-A NOPE -j ACCEPT"), fails: "no chain NOPE", want: []string{"-A INPUT -j DROP"}},
	{name: "an error drops the whole table", text: bare("filter", "-A INPUT -j DROP", "-A NOPE -j ACCEPT"), fails: "no chain NOPE"},
	{name: "user chains are sorted by name", text: bare("filter", ":b - [0:0]", ":B - [0:0]", ":a - [0:0]", ":A-1 - [0:0]", ":A - [0:0]"), want: []string{":A - [0:0]", ":A-1 - [0:0]", ":B - [0:0]", ":a - [0:0]", ":b - [0:0]"}},
	{name: "-I without number is first", text: bare("filter", "-A INPUT -j DROP", "-I INPUT -j ACCEPT"), want: []string{"-A INPUT -j ACCEPT", "-A INPUT -j DROP"}},
	{name: "-I at the end appends", text: bare("filter", "-A INPUT -j DROP", "-I INPUT 2 -j ACCEPT"), want: []string{"-A INPUT -j DROP", "-A INPUT -j ACCEPT"}},
	{name: "-I in the middle", text: bare("filter", "-A INPUT -j DROP", "-A INPUT -j DROP", "-I INPUT 2 -j ACCEPT"), want: []string{"-A INPUT -j DROP", "-A INPUT -j ACCEPT", "-A INPUT -j DROP"}},
	{name: "-I past the end fails", text: bare("filter", "-I INPUT 2 -j ACCEPT"), fails: "past the end"},
	{name: "-I at zero fails", text: bare("filter", "-I INPUT 0 -j ACCEPT"), fails: "not a rule number"},
	{name: "-D by number", text: bare("filter", "-A INPUT -j DROP", "-A INPUT -j ACCEPT", "-D INPUT 1"), want: []string{"-A INPUT -j ACCEPT"}},
	{name: "-D past the end fails", text: bare("filter", "-A INPUT -j DROP", "-D INPUT 2"), fails: "has no rule 2"},
	{name: "-D by rule takes the first equal one, however it is written", text: bare("filter", "-A INPUT -p tcp -m tcp --dport 80 -j DROP", "-A INPUT -j ACCEPT", "-A INPUT -p tcp -m tcp --dport 80 -j DROP", "-D INPUT -p 6 --dport 80:80 -j DROP"), want: []string{"-A INPUT -j ACCEPT", "-A INPUT -p tcp -m tcp --dport 80 -j DROP"}},
	{name: "-D of a rule that is not there fails", text: bare("filter", "-A INPUT -j ACCEPT", "-D INPUT -j DROP"), fails: "no such rule"},
	{name: "-D of a rule with an unknown target fails", text: bare("filter", "-D INPUT -j NOPE"), fails: `no chain or target "NOPE"`},
	{name: "-F of one chain", text: bare("filter", "-A INPUT -j DROP", "-A OUTPUT -j DROP", "-F INPUT"), want: []string{"-A OUTPUT -j DROP"}},
	{name: "-F of all chains", text: bare("filter", "-A INPUT -j DROP", "-A OUTPUT -j DROP") + bare("filter", "-F")},
	{name: "-F of all chains takes the rules of the same COMMIT too (nft leaves them)", skip: "nft", text: bare("filter", "-A INPUT -j DROP", "-A OUTPUT -j DROP", "-F")},
	{name: "-F of an unknown chain fails", text: bare("filter", "-F NOPE"), fails: "no chain NOPE"},
	{name: "-N makes a chain", text: bare("filter", "-N A"), want: []string{":A - [0:0]"}},
	{name: "-N of an existing chain fails", text: bare("filter", ":A - [0:0]", "-N A"), fails: "exists already"},
	{name: "-N of a built-in chain fails", text: bare("filter", "-N INPUT"), fails: "exists already"},
	{name: "-N with the name of a target fails", text: bare("filter", "-N REJECT"), fails: "name of a target"},
	{name: "-N with a dash in front fails", text: bare("filter", "-N -foo"), fails: "starts with"},
	{name: "a chain name of 28 characters", text: bare("filter", ":A123456789012345678901234567 - [0:0]"), want: []string{":A123456789012345678901234567 - [0:0]"}},
	{name: "a chain name of 29 characters fails", text: bare("filter", ":A1234567890123456789012345678 - [0:0]"), fails: "too long"},
	{name: "-X removes an empty chain", text: bare("filter", ":A - [0:0]", "-X A")},
	{name: "-X of all chains", text: bare("filter", ":A - [0:0]", ":B - [0:0]", "-X")},
	{name: "-X of a chain that is not empty fails", text: bare("filter", ":A - [0:0]", "-A A -j DROP", "-X A"), fails: "not empty"},
	{name: "-X of a referenced chain fails", text: bare("filter", ":A - [0:0]", "-A INPUT -j A", "-X A"), fails: "still referenced"},
	{name: "-X of a chain gone to fails", text: bare("filter", ":A - [0:0]", "-A INPUT -g A", "-X A"), fails: "still referenced"},
	{name: "-X after the references are flushed", text: bare("filter", ":A - [0:0]", "-A INPUT -j A", "-A INPUT -j A", "-F INPUT", "-X A")},
	{name: "-X after the references are deleted", text: bare("filter", ":A - [0:0]", "-A INPUT -j A", "-D INPUT -j A", "-X A")},
	{name: "-X after the referring chain is declared again", text: bare("filter", ":A - [0:0]", ":B - [0:0]", "-A B -j A") + bare("filter", ":B - [0:0]", "-X A", "-X B")},
	{name: "-X before the references go away fails (nft takes it)", skip: "nft", text: bare("filter", ":A - [0:0]", "-A INPUT -j A", "-X A", "-F INPUT"), fails: "still referenced"},
	{name: "-X of an unknown chain fails", text: bare("filter", "-X NOPE"), fails: "no chain NOPE"},
	{name: "-X of a built-in chain fails", text: bare("filter", "-X INPUT"), fails: "built in", skip: "nft"},
	{name: "-P sets the policy", text: bare("filter", "-P FORWARD DROP"), want: []string{":FORWARD DROP [0:0]"}},
	{name: "-P of a user chain fails", text: in("filter", "-P A DROP"), fails: "not built in"},
	{name: "-P of no policy fails", text: bare("filter", "-P INPUT REJECT"), fails: "not a policy"},
	{name: "-P DROP in nat fails", text: bare("nat", "-P OUTPUT DROP"), fails: "not for filtering"},
	{name: "-Z changes nothing", text: bare("filter", "-Z")},
	{name: "long names of commands", text: bare("filter", "--new-chain A", "--append A --jump DROP", "--insert A 1 --jump ACCEPT", "--delete A 2"), want: []string{":A - [0:0]", "-A A -j ACCEPT"}},
	{name: "a policy for a user chain fails (nft ignores it)", skip: "nft", text: bare("filter", ":A ACCEPT [0:0]"), fails: "has no policy"},
	{name: "a chain line without policy fails", text: bare("filter", ":A"), fails: "want :CHAIN"},
	{name: "no COMMIT fails", text: "*filter\n-A INPUT -j DROP\n", fails: "without COMMIT"},
	{name: "COMMIT without newline fails (nft takes it)", skip: "nft", text: "*filter\n-A INPUT -j DROP\nCOMMIT", fails: "newline"},
	{name: "COMMIT outside of a table fails", text: "COMMIT\n", fails: "outside of a table"},
	{name: "a command outside of a table fails", text: "-A INPUT -j DROP\n", fails: "outside of a table"},
	{name: "a table in a table fails", text: "*filter\n-A INPUT -j DROP\n*nat\nCOMMIT\n", fails: "unknown command"},
	{name: "an unknown table fails", text: bare("nope"), fails: "no table nope"},
	{name: "an unknown command fails", text: bare("filter", "-Q INPUT"), fails: "unknown command"},
	{name: "a blank line with blanks fails", text: bare("filter", "  "), fails: "no command"},
	{name: "counters alone fail", text: bare("filter", "[1:2]"), fails: "no command"},
	{name: "a rule in an unknown chain fails", text: bare("filter", "-A NOPE -j DROP"), fails: "no chain NOPE"},
	{name: "a jump to an unknown chain fails", text: bare("filter", "-A INPUT -j NOPE"), fails: `no chain or target "NOPE"`},
	{name: "a jump to a later chain fails", text: bare("filter", "-A INPUT -j A", ":A - [0:0]"), fails: `no chain or target "A"`},
	{name: "a jump to a built-in chain fails", text: bare("filter", "-A INPUT -j OUTPUT"), fails: `no chain or target "OUTPUT"`},
	{name: "a goto to a target fails", text: bare("filter", "-A INPUT -g ACCEPT"), fails: `no chain "ACCEPT"`},
	{name: "a goto to a built-in chain fails", text: bare("filter", "-A INPUT -g OUTPUT"), fails: `no chain "OUTPUT"`},
	{name: "a loop fails", text: in("filter", "-A A -j B", "-A B -j A", "-A INPUT -j A"), fails: "loop of chains: A -> B -> A"},
	{name: "a loop of one chain fails", text: in("filter", "-A A -j A", "-A INPUT -j A"), fails: "loop of chains: A -> A"},
	{name: "a loop by goto fails", text: in("filter", "-A A -g B", "-A B -g A", "-A INPUT -j A"), fails: "loop of chains"},
	{name: "a loop that nothing reaches is taken", text: in("filter", "-A A -j B", "-A B -j A"), want: []string{":A - [0:0]", ":B - [0:0]", "-A A -j B", "-A B -j A"}},
	{name: "a loop behind an unconditional verdict fails (legacy takes it)", skip: "legacy", text: in("filter", "-A INPUT -j ACCEPT", "-A INPUT -j A", "-A A -j A"), fails: "loop of chains"},
	{name: "a second jump to a chain is no loop", text: in("filter", "-A INPUT -j A", "-A INPUT -j B", "-A A -j B"), want: []string{":A - [0:0]", ":B - [0:0]", "-A INPUT -j A", "-A INPUT -j B", "-A A -j B"}},
}

func TestRestoreCommands(t *testing.T) { testRestore(t, commandCases) }
func TestRestoreMatches(t *testing.T)  { testRestore(t, matchCases) }
func TestRestoreTargets(t *testing.T)  { testRestore(t, targetCases) }

func testRestore(t *testing.T, cases []restoreCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rs := New()
			err := rs.Restore(strings.NewReader(c.text))
			checkRestoreError(t, err, c.fails)
			if diff := cmp.Diff(c.want, added(rs)); diff != "" {
				t.Errorf("rules after Restore (-want +got):\n%s", diff)
			}
			again, err := Parse(strings.NewReader(rs.String()))
			if err != nil {
				t.Fatalf("Parse of String: %v", err)
			}
			if diff := cmp.Diff(rs.String(), again.String()); diff != "" {
				t.Errorf("String after Parse (-want +got):\n%s", diff)
			}
		})
	}
}

func checkRestoreError(t *testing.T, err error, want string) {
	t.Helper()
	var at *LineError
	switch {
	case want == "" && err == nil:
	case want == "":
		t.Errorf("Restore: %v", err)
	case err == nil:
		t.Errorf("Restore took what should fail with %q", want)
	case !strings.Contains(err.Error(), want):
		t.Errorf("Restore: %v, want %q in it", err, want)
	case !errors.As(err, &at) || at.Line < 1:
		t.Errorf("Restore: %v names no line", err)
	}
}

// added lists the lines of a rule set that an untouched one does not have.
func added(rs *Ruleset) []string {
	fresh := map[string]bool{}
	for line := range strings.Lines(New().String()) {
		fresh[line] = true
	}
	var lines []string
	for line := range strings.Lines(rs.String()) {
		if !fresh[line] {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

func TestErrorNamesLineAndText(t *testing.T) {
	err := New().Restore(strings.NewReader("*filter\n# x\n-A INPUT -j NOPE\nCOMMIT\n"))
	const want = `line 3: "-A INPUT -j NOPE": there is no chain or target "NOPE"`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFailedRestoreLeavesNoTrace(t *testing.T) {
	const before = "*nat\n:A - [0:0]\n:B - [0:0]\n-A A -j RETURN\n-A OUTPUT -j A\nCOMMIT\n"
	rs, err := Parse(strings.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	want := rs.String()
	for _, broken := range []string{
		bare("nat", "-A A -j ACCEPT", "-I A -j ACCEPT", "-D A 2", "-F OUTPUT", "-X B", "nonsense"),
		bare("nat", ":A - [0:0]", "-A A -s fd00::1", "-A NOPE"),
		bare("nat", "-P OUTPUT ACCEPT", "-A B -j A", "-A A -j B"),
		"*nat\n-F\n-X\n",
	} {
		if err := rs.Restore(strings.NewReader(broken)); err == nil {
			t.Errorf("Restore took %q", broken)
		}
		if diff := cmp.Diff(want, rs.String()); diff != "" {
			t.Errorf("after %q (-want +got):\n%s", broken, diff)
		}
	}
	// The IPv6 address in a table that never came about settled nothing.
	if err := rs.Restore(strings.NewReader(bare("nat", "-A A -s 10.0.0.1"))); err != nil {
		t.Error(err)
	}
}

func TestChainsAndRules(t *testing.T) {
	rs, err := Parse(strings.NewReader(bare("nat", ":Z - [0:0]", ":A - [0:0]", "-A Z", "-A Z -p udp --dport 53 -j A")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "A", "Z"}, rs.Chains("nat")); diff != "" {
		t.Errorf("Chains (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", "-p udp -m udp --dport 53 -j A"}, rs.Rules("nat", "Z")); diff != "" {
		t.Errorf("Rules (-want +got):\n%s", diff)
	}
	if rs.Chains("nope") != nil || rs.Rules("nope", "Z") != nil || rs.Rules("nat", "nope") != nil {
		t.Error("there is something in a table or chain that is not there")
	}
	if got := rs.Rules("nat", "A"); got == nil || len(got) != 0 {
		t.Errorf("rules of an empty chain: %#v", got)
	}
}
