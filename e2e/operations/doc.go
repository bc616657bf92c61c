// Package operations tests what an operator sees of Fairlead on a node: health, metrics, repaired drift, its end, and what it does
// without privileges.
package operations
