package config

import (
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
)

// Client is how the API server is spoken to.
type Client struct {
	// ContentType and AcceptContentTypes are media types. No AcceptContentTypes: what the API server has, best ContentType.
	ContentType, AcceptContentTypes string
	// QPS is how many requests a second are made at most, Burst how many at once. A negative QPS: as many as one likes.
	QPS   float32
	Burst int
}

func defaultClient() Client {
	return Client{ContentType: runtime.ContentTypeProtobuf, QPS: 5, Burst: 10}
}

func (c *Client) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.ContentType, "kube-api-content-type", c.ContentType, "media type of what is sent to the API server")
	fs.StringVar(&c.AcceptContentTypes, "kube-api-accept-content-types", c.AcceptContentTypes, "media types that the API server may answer in, separated by commas; empty: --kube-api-content-type, or JSON")
	fs.Float32Var(&c.QPS, "kube-api-qps", c.QPS, "how many requests a second are made to the API server at most")
	fs.IntVar(&c.Burst, "kube-api-burst", c.Burst, "how many requests are made to the API server at once at most")
}

func (c *Client) validate(f *findings) {
	notNegative(f, "kube-api-burst", c.Burst)
}
