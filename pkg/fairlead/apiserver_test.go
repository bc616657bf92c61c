package fairlead

import (
	"testing"

	"k8s.io/client-go/rest"
)

func TestAddressOfTheAPIServer(t *testing.T) {
	tests := []struct{ host, want string }{
		{"https://192.0.2.10:6443", "192.0.2.10:6443"},
		{"https://192.0.2.10", "192.0.2.10:443"},
		{"http://192.0.2.10/prefix", "192.0.2.10:80"},
		{"https://[2001:db8::10]:6443", "[2001:db8::10]:6443"},
		{"https://[::ffff:192.0.2.10]:6443", "192.0.2.10:6443"},
		{"https://api.example.com:6443", "invalid AddrPort"},
		{"https://192.0.2.10:99999", "invalid AddrPort"},
	}
	for _, test := range tests {
		if got := addressOf(&rest.Config{Host: test.host}).String(); got != test.want {
			t.Errorf("%s: got %s, want %s", test.host, got, test.want)
		}
	}
}
