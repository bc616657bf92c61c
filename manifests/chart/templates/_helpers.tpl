{{- /* The image of both containers. A digest takes precedence over the tag. */ -}}
{{- define "fairlead.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The configuration file: the KubeProxyConfiguration as it is in the values, then the other documents. */ -}}
{{- define "fairlead.config" -}}
{{- if dig "clientConnection" "kubeconfig" "" .Values.config -}}
{{- fail "remove config.clientConnection.kubeconfig: the pods have no such file, they use their ServiceAccount and apiServer.host" -}}
{{- end -}}
{{ toYaml .Values.config }}
{{- range .Values.extraConfig }}
---
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /*
Port and host of the probes, from config.healthzBindAddress: an address, or an address and a port. Without a host, kubelet asks at the node's
address, which is right if Fairlead listens on all addresses.
*/ -}}
{{- define "fairlead.probeAddress" -}}
{{- $address := .Values.config.healthzBindAddress | default "" -}}
{{- $withPort := `^([^:]*|\[.*\]):([0-9]+)$` -}}
{{- $host := regexReplaceAll $withPort $address "${1}" | trimAll "[]" -}}
{{- if not (regexMatch `^[0:.]*$` $host) -}}
host: {{ $host | quote }}
{{ end -}}
port: {{ regexFind $withPort $address | splitList ":" | last | default "10256" }}
{{- end -}}
