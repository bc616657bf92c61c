package config

import (
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
)

// Client holds the settings of the connection to the API server.
type Client struct {
	// ContentType is the media type of requests. AcceptContentTypes are the media types of responses, separated by commas. Empty:
	// ContentType, or else JSON.
	ContentType, AcceptContentTypes string
	// QPS limits the requests per second, and Burst the requests at once. A negative QPS is no limit.
	QPS   float32
	Burst int
}

func defaultClient() Client {
	return Client{ContentType: runtime.ContentTypeProtobuf, QPS: 5, Burst: 10}
}

func (c *Client) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.ContentType, "kube-api-content-type", c.ContentType, "media type of requests to the API server")
	fs.StringVar(&c.AcceptContentTypes, "kube-api-accept-content-types", c.AcceptContentTypes, "media types of responses of the API server, separated by commas; empty: --kube-api-content-type, or else JSON")
	fs.Float32Var(&c.QPS, "kube-api-qps", c.QPS, "maximum number of requests per second to the API server; negative: no limit")
	fs.IntVar(&c.Burst, "kube-api-burst", c.Burst, "maximum number of requests at once to the API server")
}

func (c *Client) validate(f *findings) {
	notNegative(f, "kube-api-burst", c.Burst)
}
