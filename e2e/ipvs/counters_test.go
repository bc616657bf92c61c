//go:build ipvs && soak

package ipvs

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// counters is what /metrics says of the TCP port of a Service.
type counters struct{ connections, packetsIn, packetsOut, bytesIn, bytesOut int }

// counters asks Fairlead.
func (s *stage) counters(f lab.Family, service string) (counters, error) {
	client := http.Client{Timeout: lab.Patience(10 * time.Second), Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.node1.DialContext(ctx, network, address)
		},
	}}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://127.0.0.1:10249/metrics", nil)
	if err != nil {
		return counters{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return counters{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return counters{}, err
	}
	var c counters
	for what, to := range map[string]*int{
		"connections_total{":            &c.connections,
		`packets_total{direction="in",`: &c.packetsIn, `packets_total{direction="out",`: &c.packetsOut,
		`bytes_total{direction="in",`: &c.bytesIn, `bytes_total{direction="out",`: &c.bytesOut,
	} {
		series := regexp.MustCompile(`(?m)^fairlead_service_` + regexp.QuoteMeta(what) + `ip_family="` + f.String() + `",protocol="tcp",service_name="` + service + `",.*\} (\S+)$`)
		m := series.FindSubmatch(text)
		if m == nil {
			return c, fmt.Errorf("no %s of %s", what, service)
		}
		n, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return c, err
		}
		*to = int(n)
	}
	return c, nil
}

// TestTrafficOfAServiceIsCounted makes connections from a pod and from the node itself. The kernel adds up its statistics every two seconds,
// so the count has to come to the right number, and stay there.
func TestTrafficOfAServiceIsCounted(t *testing.T) {
	s := newStage(t)
	server := s.Pod(s.node2, "server", 8080)
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.behind("web", endpoint{server, s.node2, ""})
	s.start("--service-counters")
	want := map[lab.Family]int{}
	for _, f := range lab.Families {
		for host, n := range map[*lab.Host]int{s.client: 13, s.node1: 6} {
			if _, err := host.AskMany(t.Context(), "tcp", vip(f, 10, 80), n, 2); err != nil {
				t.Fatal(err)
			}
			want[f] += n
		}
	}
	for _, f := range lab.Families {
		s.Eventually("all connections are counted", func() error {
			c, err := s.counters(f, "web")
			if err == nil && c.connections != want[f] {
				err = fmt.Errorf("%s: %d connections, want %d", f, c.connections, want[f])
			}
			return err
		})
	}
	s.Verified(4)
	for _, f := range lab.Families {
		c, err := s.counters(f, "web")
		if err != nil {
			t.Fatal(err)
		}
		// A connection opens with two packets of the client's and one of the server's, and has a question and an answer.
		if c.connections != want[f] || c.packetsIn < 3*want[f] || c.packetsOut < 2*want[f] || c.bytesIn < 40*c.packetsIn || c.bytesOut < 40*c.packetsOut {
			t.Errorf("%s: %+v, of %d connections", f, c, want[f])
		}
		t.Logf("%s: %+v", f, c)
	}
	s.remove("web")
	s.Eventually("a Service that is deleted has no series", func() error {
		for _, f := range lab.Families {
			if c, err := s.counters(f, "web"); err == nil {
				return fmt.Errorf("%s: %+v", f, c)
			}
		}
		return nil
	})
}
