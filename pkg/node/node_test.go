package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestFamilies(t *testing.T) {
	const table = "proc/net/if_inet6"
	off := func(name, value string) map[string]string {
		files := map[string]string{table: ""}
		for _, conf := range []string{"all", "default", "lo", "eth0", "br-1.2"} {
			files["proc/sys/net/ipv6/conf/"+conf+"/disable_ipv6"] = "1\n"
		}
		if name != "" {
			files["proc/sys/net/ipv6/conf/"+name+"/disable_ipv6"] = value
		}
		return files
	}
	one, both := []service.Family{service.IPv4}, []service.Family{service.IPv4, service.IPv6}
	tests := []struct {
		name           string
		files          map[string]string
		spoken, served []service.Family
	}{
		{"without IPv6", nil, one, one},
		{"with IPv6 and without its sysctls", map[string]string{table: ""}, both, both},
		{"off by sysctl", off("", ""), both, one},
		{"off by sysctl, and on again on one interface", off("eth0", "0\n"), both, both},
		{"off on the interfaces that there are, but not on those to come", off("default", "0\n"), both, both},
		{"an unknown value", off("eth0", "\n"), both, both},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range test.files {
				file := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := families(root); !slices.Equal(got, test.spoken) {
				t.Errorf("the kernel speaks %v, want %v", got, test.spoken)
			}
			if got := servedFamilies(root); !slices.Equal(got, test.served) {
				t.Errorf("served are %v, want %v", got, test.served)
			}
		})
	}
}
