package fairlead

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/pkg/config"
)

func TestFlagzAnswersAsKubeProxys(t *testing.T) {
	const structured = "application/json;g=config.k8s.io;v=v1beta1;as=Flagz"
	tests := []struct {
		name, accept string
		status       int
		body         string
	}{
		{"text by default", "", 200, "\nproxy-mode=ipvs\n"},
		{"text for a browser", "text/html,application/xhtml+xml,*/*;q=0.8", 200, "\nproxy-mode=ipvs\n"},
		{"structured", structured, 200, `{"kind":"Flagz","apiVersion":"config.k8s.io/v1beta1","metadata":{"name":"fairlead"},"flags":{`},
		{"structured, with the flags", structured, 200, `"proxy-mode":"ipvs"`},
		{"structured first", structured + ", text/plain", 200, `"kind":"Flagz"`},
		{"an older version", "application/json;g=config.k8s.io;v=v1alpha1;as=Flagz", 200, `"apiVersion":"config.k8s.io/v1alpha1"`},
		{"JSON of no kind", "application/json", 406, "as=Flagz"},
		{"nonsense", ";;;", 406, "text/plain"},
	}
	flags := pflag.NewFlagSet("fairlead", pflag.ContinueOnError)
	config.NewCommandLine(flags)
	if err := flags.Parse([]string{"--proxy-mode=ipvs"}); err != nil {
		t.Fatal(err)
	}
	m := newMonitor(config.Default(), nil)
	m.flags = newOptions([]Option{WithFlags(flags)}).flags
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/flagz", nil)
			r.Header.Set("Accept", test.accept)
			w := httptest.NewRecorder()
			m.metricsHandler().ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		})
	}
}
