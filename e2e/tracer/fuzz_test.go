package tracer

import (
	"strings"
	"testing"
)

// FuzzParse feeds Parse anything. It must not panic, and what it took must
// read the same once it was printed.
func FuzzParse(f *testing.F) {
	for _, cases := range [][]restoreCase{commandCases, matchCases, targetCases} {
		for _, c := range cases {
			f.Add(c.text)
		}
	}
	for _, c := range flowCases {
		f.Add(c.rules)
	}
	f.Add(serviceRules)
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		once := rs.String()
		again, err := Parse(strings.NewReader(once))
		if err != nil {
			t.Fatalf("Parse of\n%s\nfrom %q: %v", once, text, err)
		}
		if twice := again.String(); twice != once {
			t.Fatalf("from %q:\n%s\nbecame\n%s", text, once, twice)
		}
	})
}
