package listwatch

import (
	"fmt"
	"mime"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// codec is one way to write objects down.
type codec = runtime.SerializerInfo

var (
	protobuf = codecOf(runtime.ContentTypeProtobuf)
	json     = codecOf(runtime.ContentTypeJSON)
)

func codecOf(mediaType string) codec {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaType)
	if !ok {
		panic(fmt.Sprintf("client-go does not know %s", mediaType))
	}
	return info
}

// negotiate chooses the first of the accepted types that is known here. It is protobuf for proxies, as they ask for that first.
func negotiate(accept string) codec {
	for clause := range strings.SplitSeq(accept, ",") {
		switch mediaType, _, _ := mime.ParseMediaType(clause); mediaType {
		case runtime.ContentTypeProtobuf:
			return protobuf
		case runtime.ContentTypeJSON:
			return json
		}
	}
	return json
}
