package fairlead

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const flagzGroup = "config.k8s.io"

// flagz is the structured answer of kube-proxy's /flagz (KEP-4828). k8s.io/apiserver has the type, and much that Fairlead does not need.
type flagz struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Flags             map[string]string `json:"flags,omitempty"`
}

// serveFlagz returns the flags of the command line: as text, or structured for clients that accept that only, as kube-proxy does.
func serveFlagz(flags map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		plain, version := acceptedFlagz(r.Header.Get("Accept"))
		switch {
		case plain:
			text(w, flagzText(flags))
		case version != "":
			answer := flagz{Flags: flags}
			answer.Kind, answer.APIVersion, answer.Name = "Flagz", flagzGroup+"/"+version, "fairlead"
			writeJSON(w, answer)
		default:
			http.Error(w, fmt.Sprintf("use Accept: text/plain, or application/json;g=%s;v=v1beta1;as=Flagz", flagzGroup), http.StatusNotAcceptable)
		}
	}
}

// acceptedFlagz returns the first supported format of an Accept header: plain text, or a version of the structured answer.
func acceptedFlagz(accept string) (plain bool, version string) {
	if strings.TrimSpace(accept) == "" {
		return true, ""
	}
	for part := range strings.SplitSeq(accept, ",") {
		mediaType, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch mediaType {
		case "text/plain", "text/*", "*/*":
			return true, ""
		case "application/json":
			if v := parameters["v"]; parameters["g"] == flagzGroup && parameters["as"] == "Flagz" && (v == "v1beta1" || v == "v1alpha1") {
				return false, v
			}
		}
	}
	return false, ""
}

func flagzText(flags map[string]string) string {
	var b strings.Builder
	b.WriteString("\nfairlead flagz\nWarning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.\n")
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		fmt.Fprintf(&b, "%s=%s\n", name, flags[name])
	}
	return b.String()
}
