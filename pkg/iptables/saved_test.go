package iptables

import (
	"strings"
	"testing"
)

func FuzzReadSaved(f *testing.F) {
	f.Add("*nat\n:PREROUTING ACCEPT [0:0]\n:FL-SERVICES - [0:0]\n-A PREROUTING -j FL-SERVICES\n-A FL-SERVICES -j ACCEPT\nCOMMIT\n")
	f.Add("-A PREROUTING -j FL-SERVICES\n*\n:FL-C-0a\n-A \n*nat")
	f.Add(":FL-SERVICES\n*nat\n-A FL-SERVICES")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readSaved(strings.NewReader(text))
		if err != nil {
			return
		}
		for table, chains := range s.chains {
			for name := range chains {
				if !ours.MatchString(name) {
					t.Errorf("%s: %q is not ours", table, name)
				}
			}
		}
	})
}
