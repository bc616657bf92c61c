package xtables

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse reads what iptables-save prints of a hundred thousand rules, a tenth of which are somebody else's.
func BenchmarkParse(b *testing.B) {
	var text bytes.Buffer
	text.WriteString("*nat\n:PREROUTING ACCEPT [0:0]\n")
	const chains = 10000
	for n := range chains {
		fmt.Fprintf(&text, ":FAIRLEAD-%08d - [0:0]\n", n)
	}
	for n := range chains {
		for e := range 9 {
			fmt.Fprintf(&text, "-A FAIRLEAD-%08d -m statistic --mode random --probability 0.10000000009 -j FAIRLEAD-%08d\n", n, n+e)
		}
		fmt.Fprintf(&text, "-A OTHER -d 10.96.%d.%d/32 -j ACCEPT\n", n>>8, n&255)
	}
	text.WriteString("COMMIT\n")
	owner := Owner{Prefix: "FAIRLEAD-", Ours: func(name string) bool { return strings.HasPrefix(name, "FAIRLEAD-") }}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readSaved(bytes.NewReader(text.Bytes()), owner); err != nil {
			b.Fatal(err)
		}
	}
}
