package lab

import (
	"math"
	"net/netip"
)

// Even tests whether counts look like the same chance for each of so many
// endpoints, by Pearson's chi-square test. It returns the p-value: how likely
// a spread at least as uneven is if the chance is the same. An endpoint that
// is not in counts counts zero. With no counts, or more servers than
// endpoints, it returns 0.
func Even(counts map[netip.AddrPort]int, endpoints int) (p float64) {
	total := 0
	for _, n := range counts {
		total += n
	}
	if total == 0 || len(counts) > endpoints {
		return 0
	}
	expected := float64(total) / float64(endpoints)
	x := expected * float64(endpoints-len(counts)) // from the missing ones
	for _, n := range counts {
		d := float64(n) - expected
		x += d * d / expected
	}
	return chiSquareTail(x, endpoints-1)
}

// chiSquareTail is the chance of a chi-square value of at least x.
func chiSquareTail(x float64, df int) float64 {
	if df == 0 || x <= 0 {
		return 1
	}
	return upperGamma(float64(df)/2, x/2)
}

// upperGamma is the regularised upper incomplete gamma function Q(a, x), for
// a and x above zero. See the NIST Digital Library of Mathematical Functions,
// https://dlmf.nist.gov/8.
func upperGamma(a, x float64) float64 {
	lgamma, _ := math.Lgamma(a)
	factor := math.Exp(a*math.Log(x) - x - lgamma)
	if x < a+1 {
		return 1 - factor*lowerSeries(a, x)
	}
	return factor * upperFraction(a, x)
}

const (
	gammaTerms     = 10000
	gammaPrecision = 1e-15
)

// lowerSeries is γ(a, x) e^x x^-a, by DLMF 8.11.4. It converges fast for x
// below a.
func lowerSeries(a, x float64) float64 {
	term := 1 / a
	sum := term
	for k := 1; k < gammaTerms && term > sum*gammaPrecision; k++ {
		term *= x / (a + float64(k))
		sum += term
	}
	return sum
}

// upperFraction is Γ(a, x) e^x x^-a, by the even part of the continued
// fraction DLMF 8.9.2, evaluated from the front by Lentz's method. It
// converges fast for x above a.
func upperFraction(a, x float64) float64 {
	const tiny = 1e-300
	b := x + 1 - a
	c := 1 / tiny
	d := 1 / b
	f := d
	for k := 1.0; k < gammaTerms; k++ {
		num := k * (a - k)
		b += 2
		d = 1 / (num*d + b)
		c = b + num/c
		f *= c * d
		if math.Abs(c*d-1) < gammaPrecision {
			break
		}
	}
	return f
}
