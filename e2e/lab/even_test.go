package lab

import (
	"math"
	"net/netip"
	"testing"
)

func TestChiSquareTail(t *testing.T) {
	for _, tc := range []struct {
		x    float64
		df   int
		want float64
	}{
		// Critical values from printed tables.
		{3.841, 1, 0.05},
		{6.635, 1, 0.01},
		{10.828, 1, 0.001},
		{5.991, 2, 0.05},
		{18.307, 10, 0.05},
		{3.940, 10, 0.95},
		{67.505, 50, 0.05},
		{124.342, 100, 0.05},
		{149.449, 100, 0.001},
		{77.929, 100, 0.95},
	} {
		if got := chiSquareTail(tc.x, tc.df); math.Abs(got-tc.want) > 1e-3*tc.want {
			t.Errorf("chi-square %v, df %d: got %v, want %v", tc.x, tc.df, got, tc.want)
		}
	}
}

// For even degrees of freedom the tail is a finite sum, and for one it is the
// error function.
func TestChiSquareTailClosedForm(t *testing.T) {
	for _, df := range []int{2, 4, 10, 98, 200} {
		for _, ratio := range []float64{0.01, 0.3, 0.9, 1, 1.05, 2, 5} {
			x := ratio * float64(df)
			term, want := math.Exp(-x/2), 0.0
			for k := range df / 2 {
				want += term
				term *= x / 2 / float64(k+1)
			}
			checkClose(t, x, df, want)
		}
	}
	for _, x := range []float64{1e-6, 0.1, 1, 2.9, 3.1, 20, 200} {
		checkClose(t, x, 1, math.Erfc(math.Sqrt(x/2)))
	}
}

func checkClose(t *testing.T, x float64, df int, want float64) {
	t.Helper()
	if got := chiSquareTail(x, df); math.Abs(got-want) > 1e-10*want {
		t.Errorf("chi-square %v, df %d: got %v, want %v", x, df, got, want)
	}
}

func TestEven(t *testing.T) {
	counts := func(ns ...int) map[netip.AddrPort]int {
		m := map[netip.AddrPort]int{}
		for i, n := range ns {
			m[netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i))] = n
		}
		return m
	}
	for _, tc := range []struct {
		name      string
		counts    map[netip.AddrPort]int
		endpoints int
		min, max  float64
	}{
		{"all the same", counts(100, 100, 100), 3, 1, 1},
		{"a little uneven", counts(95, 105, 100), 3, 0.77, 0.79}, // e^-0.25
		{"very uneven", counts(50, 150, 100), 3, 0, 1e-9},
		{"one endpoint missing", counts(100, 100), 3, 0, 1e-9},
		{"missing counts like zero", counts(4, 4), 3, 0.135, 0.136}, // e^-2
		{"zero counts", counts(4, 4, 0), 3, 0.135, 0.136},
		{"one endpoint", counts(7), 1, 1, 1},
		{"more servers than endpoints", counts(5, 5), 1, 0, 0},
		{"nothing counted", nil, 3, 0, 0},
	} {
		if p := Even(tc.counts, tc.endpoints); p < tc.min || p > tc.max {
			t.Errorf("%s: p = %v, want %v to %v", tc.name, p, tc.min, tc.max)
		}
	}
}
