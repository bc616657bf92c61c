package ipvs

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

// Get implements otherServers.
func (f fakeServers) Get(k key) (s virtualServer, err error) {
	err = f.read(func() error {
		if f.servers[k] == nil {
			return errNotFound
		}
		s = f.servers[k].virtualServer
		return nil
	})
	return s, err
}

func TestOthersAreReadAgainBeforeTheyChange(t *testing.T) {
	const left = "server alien,tcp:80 wlc\n server alien,tcp:80 > away2:9 weight "
	for _, test := range []struct {
		name                string
		meanwhile           func(s *stage)
		quiesced, afterward string
	}{
		{"it is still another program's", func(*stage) {}, "server alien,tcp:80 wlc of somebody else\n server alien,tcp:80 > away2:9 weight 0", ""},
		{"it has become Fairlead's", func(s *stage) { s.put("alien,tcp:80", ownMark, "away2:9") }, left + "3", left + "3"},
		{"it has gone", func(s *stage) { delete(s.kernel.servers, s.key("alien,tcp:80")) }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.put("alien,tcp:80", 0, "away2:9")
				others := &Others{fakeServers{s.kernel}}
				list, err := others.List(func(service.Protocol, netip.AddrPort) bool { return true })
				if err != nil || len(list) != 1 {
					t.Fatal(list, err)
				}
				test.meanwhile(s)
				must(t, others.Quiesce(list[0]))
				s.want("after Quiesce", test.quiesced)
				must(t, others.Delete(list[0]))
				s.want("after Delete", test.afterward)
			})
		})
	}
}
