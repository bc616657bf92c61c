package xtables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIPv6AddressesAreComparedHoweverTheyArePrinted(t *testing.T) {
	tests := []struct{ printed, plain string }{
		{"-A X -d ::1.2.3.4/128 -p tcp", "-A X -d ::102:304/128 -p tcp"},
		{"-A X -d ::1.2.3.0/120 -s ::5.6.7.8/128 -j Y", "-A X -d ::102:300/120 -s ::506:708/128 -j Y"},
		{"-A X -p tcp -j DNAT --to-destination [::1.2.3.4]:8080", "-A X -p tcp -j DNAT --to-destination [::102:304]:8080"},
		{"-A X -d ::/96 -d ::5/128 -d fd00::1/128", "-A X -d ::/96 -d ::5/128 -d fd00::1/128"},
		{"-A X -d ::ffff:1.2.3.4/128", "-A X -d ::ffff:1.2.3.4/128"},
		{"-A X -d 1.2.3.4/32", "-A X -d 1.2.3.4/32"},
		{"-A X -d ::1.2.3/128 -d ::", "-A X -d ::1.2.3/128 -d ::"},
	}
	for _, test := range tests {
		if got := string(plainAddresses([]byte(test.printed))); got != test.plain {
			t.Errorf("%s: %s, want %s", test.printed, got, test.plain)
		}
	}
	o := Owner{Prefix: "FL-", Ours: func(string) bool { return true }}
	text := "*nat\n:FL-X - [0:0]\n-A FL-X -d %s/128 -j RETURN\nCOMMIT\n"
	dotted, err := readSaved(strings.NewReader(strings.Replace(text, "%s", "::1.2.3.4", 1)), o)
	if err != nil {
		t.Fatal(err)
	}
	w := NewChain("FL-X")
	w.Rule("-d ::102:304/128 -j RETURN")
	if diff := cmp.Diff(w.sum, dotted.chains["nat"]["FL-X"], cmp.AllowUnexported(checksum{})); diff != "" {
		t.Errorf("checksums (-rendered +read):\n%s", diff)
	}
}
