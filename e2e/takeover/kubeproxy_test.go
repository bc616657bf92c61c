package takeover

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// syncLimit is how long kube-proxy's first sync may take, beside whatever else the machine does.
var syncLimit = lab.Patience(2 * time.Minute)

// startKubeProxy runs the real kube-proxy on the first node, and waits until it has written all of both families.
func (c *cluster) startKubeProxy(mode string, flags ...string) {
	c.t.Helper()
	started := time.Now()
	c.kubeProxy = c.StartKubeProxy(c.Node(), &c.kubeProxyLog, nil, append([]string{"--master=" + c.url, "--proxy-mode=" + mode}, flags...)...)
	c.Within(syncLimit, "kube-proxy has written all", func() error { return c.synced(started) })
}

// synced reads kube-proxy's metrics.
func (c *cluster) synced(since time.Time) error {
	transport := &http.Transport{DialContext: c.Node().DialContext}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: lab.AnswerTimeout}).Get("http://127.0.0.1:10249/metrics")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	for _, f := range lab.Families {
		var last float64
		name := fmt.Sprintf(`kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="%s"}`, f)
		for line := range strings.Lines(string(body)) {
			if value, ok := strings.CutPrefix(line, name); ok {
				if _, err := fmt.Sscan(value, &last); err != nil {
					return err
				}
			}
		}
		if last < float64(since.Unix()) {
			return fmt.Errorf("it has not written %s yet", f)
		}
	}
	return nil
}
