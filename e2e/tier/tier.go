// Package tier says how much the tests do. `make test` runs what is right or wrong by counting, and is quick. `make soak` sets the
// build tag soak, which adds the files that have it and makes other tests do more of the same.
package tier

import "math/rand/v2"

// Count is how many repetitions a test makes, for `make test` and for `make soak`.
func Count(test, soak int) int {
	if Soak {
		return soak
	}
	return test
}

// Seeds are those of a property test: the first ones, and for `make soak` as many random ones. The name of the subtest has the seed,
// so that one that fails can be run again.
func Seeds(test, soak int) []uint64 {
	var seeds []uint64
	for seed := range Count(test, soak) {
		seeds = append(seeds, uint64(seed))
		if Soak {
			seeds = append(seeds, rand.Uint64())
		}
	}
	return seeds
}
