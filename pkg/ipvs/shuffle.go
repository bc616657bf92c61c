package ipvs

import (
	"math/rand/v2"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// shuffled puts endpoints into a random order. Schedulers such as rr begin with the same endpoint on every node otherwise, and all
// nodes send their first connections to the same pod (kubernetes#126378).
func shuffled(endpoints []service.Endpoint) []service.Endpoint {
	list := slices.Clone(endpoints)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}
