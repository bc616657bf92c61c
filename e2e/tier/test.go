//go:build !soak

package tier

// Soak reports whether the tests of `make soak` are run.
const Soak = false
