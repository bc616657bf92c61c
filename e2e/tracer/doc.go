// Package tracer reads iptables rules and says what they do to a packet.
//
// It is a second, independent reading of what iptables means: a [Ruleset] is
// filled from iptables-save text ([Parse]) or by iptables-restore input
// ([Ruleset.Restore]), and [Ruleset.Trace] walks a described packet through
// the hooks of the kernel and returns everything that can happen to it, each
// with its probability. Nothing is sent anywhere and nothing of the host is
// read; it all takes place in memory.
//
// What is not understood is refused. An unknown match, target, option or
// command is an error that names the line, never a rule that is skipped.
//
// # Where the tracer differs from the kernel
//
// It is stricter than iptables in a few places where iptables guesses or loses
// something: host and service names, short addresses ("10.1"), lists of
// addresses after -s and -d, address and port ranges of NAT targets, comments
// that are cut short, inverted matches that can never match and that
// iptables-save forgets ("! -i +"), counters that are not numbers, and a
// command after its options.
//
// Where the two variants of iptables differ, the tracer refuses what either
// refuses: a loop of chains behind an unconditional verdict (nft), a policy
// for a user chain, a last line without newline and -X of a chain whose
// references go away only later in the same COMMIT (legacy). It sets no limit
// to the depth of jumps, where nft allows sixteen chains, and -F without a
// chain empties chains of the rules of the same COMMIT too, where nft leaves
// those.
package tracer
