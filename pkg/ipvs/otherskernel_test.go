//go:build ipvs

package ipvs

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestKernelReadsOneVirtualServer(t *testing.T) {
	for f, address := range map[service.Family]string{service.IPv4: "192.0.2.77:80", service.IPv6: "[2001:db8::77]:80"} {
		t.Run(f.String(), func(t *testing.T) {
			k := newServersIn(t, f)
			want := virtualServer{key: key{service.TCP, netip.MustParseAddrPort(address)}, scheduler: "rr", flags: testMark}
			if _, err := k.Get(want.key); !errors.Is(err, errNotFound) {
				t.Errorf("before: %v", err)
			}
			must(t, k.Add(want))
			t.Cleanup(func() { must(t, k.Delete(want.key)) })
			if got, err := k.Get(want.key); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}
