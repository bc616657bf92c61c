package bench

import (
	"fmt"
	"testing"

	"github.com/fairlead/fairlead/pkg/xtables"
)

var sizes = []struct {
	variant  xtables.Variant
	services int
}{
	{xtables.Legacy, 1000},
	{xtables.Legacy, 10000},
	{xtables.NFT, 1000},
	{xtables.NFT, 5000},
}

// mostNFT is how many services in kube-proxy's shape can be waited for with the nft variant.
const mostNFT = 1000

func forEachSize(b *testing.B, run func(b *testing.B, variant xtables.Variant, c Cluster)) {
	for _, s := range sizes {
		b.Run(fmt.Sprintf("%s/services=%d", s.variant, s.services), func(b *testing.B) {
			run(b, s.variant, NewCluster(s.services, endpointsEach))
		})
	}
}

// BenchmarkLoad loads all rules into an empty kernel.
func BenchmarkLoad(b *testing.B) {
	forEachSize(b, func(b *testing.B, variant xtables.Variant, c Cluster) {
		var r race
		text := Full(c)
		for b.Loop() {
			ourLab, end := newLab(b)
			r.ours = append(r.ours, newOurs(ourLab, variant, c).sync(b, true))
			end()
			theirLab, end := newLab(b)
			took, done := newTheirs(b, theirLab, variant).restore(b, text)
			end()
			r.theirs = append(r.theirs, took)
			r.givenUp = r.givenUp || !done
		}
		r.report(b)
	})
}

// BenchmarkChange replaces one endpoint of one service after the other, in rules that are loaded.
func BenchmarkChange(b *testing.B) {
	forEachSize(b, func(b *testing.B, variant xtables.Variant, c Cluster) {
		ourLab, end := newLab(b)
		defer end()
		us := newOurs(ourLab, variant, c)
		us.sync(b, true)
		var them *theirs
		if variant == xtables.Legacy || len(c) <= mostNFT {
			theirLab, end := newLab(b)
			defer end()
			them = newTheirs(b, theirLab, variant)
			if _, done := them.restore(b, Full(c)); !done {
				b.Fatalf("kube-proxy's rules took more than %v to load: raise -limit", *limit)
			}
		}
		var r race
		for n := 0; b.Loop(); n++ {
			changed := n * 7 % len(c)
			c[changed].Replace(n)
			_, slice := c[changed].Objects()
			us.builder.SetSlice(slice)
			r.ours = append(r.ours, us.sync(b, false))
			if them != nil {
				took, _ := them.restore(b, Partial(c, changed))
				r.theirs = append(r.theirs, took)
			}
		}
		r.report(b)
	})
}
