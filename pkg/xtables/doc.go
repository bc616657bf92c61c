// Package xtables reads and writes rules through the iptables programs. It knows nothing of what the rules are for.
//
// Everybody who has rules on a node has a Ruleset: the chains whose names begin with a prefix of its own, in all tables of one
// IP family. Every chain is rendered to the very text that iptables-save prints for it. So what the kernel holds and what it
// should hold are compared chain by chain, and only chains that differ are written: after a change, after a restart, after an
// error, and after somebody else's hand. What belongs to another prefix is never touched.
package xtables
