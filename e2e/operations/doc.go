// Package operations tests what an operator sees of Fairlead on a node: health, metrics, repaired drift, its end, and what it does
// without privileges or while the API server is in trouble. Tests that mostly wait for a back-off run in parallel.
package operations
