{{- define "plimsoll.fullname" -}}
{{- if contains "plimsoll" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-plimsoll" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "plimsoll.labels" -}}
app.kubernetes.io/name: plimsoll
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "plimsoll.selector" -}}
app.kubernetes.io/name: plimsoll
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "plimsoll.secret" -}}
{{- .Values.existingSecret | default (printf "%s-config" (include "plimsoll.fullname" .)) -}}
{{- end -}}

{{/* What `plimsoll watch` lists and watches inside of namespaces and out; a test compares it with the agent. */}}
{{- define "plimsoll.watched" -}}
- apiGroups: [""]
  resources: [pods, replicationcontrollers, services]
  verbs: [list, watch]
- apiGroups: ["apisix.apache.org"]
  resources: [apisixroutes]
  verbs: [list, watch]
- apiGroups: ["apps"]
  resources: [daemonsets, deployments, replicasets, statefulsets]
  verbs: [list, watch]
- apiGroups: ["batch"]
  resources: [cronjobs, jobs]
  verbs: [list, watch]
- apiGroups: ["cilium.io"]
  resources: [ciliumclusterwidenetworkpolicies, ciliumnetworkpolicies]
  verbs: [list, watch]
- apiGroups: ["cis.f5.com"]
  resources: [transportservers, virtualservers]
  verbs: [list, watch]
- apiGroups: ["configuration.konghq.com"]
  resources: [tcpingresses, udpingresses]
  verbs: [list, watch]
- apiGroups: ["consul.hashicorp.com"]
  resources: [serviceintentions]
  verbs: [list, watch]
- apiGroups: ["core.haproxy.org"]
  resources: [tcps]
  verbs: [list, watch]
- apiGroups: ["crd.antrea.io"]
  resources: [clusternetworkpolicies, networkpolicies, tiers]
  verbs: [list, watch]
- apiGroups: ["crd.projectcalico.org"]
  resources: [globalnetworkpolicies, networkpolicies, tiers]
  verbs: [list, watch]
- apiGroups: ["gateway.networking.k8s.io"]
  resources: [gateways, grpcroutes, httproutes, referencegrants, tcproutes, tlsroutes, udproutes]
  verbs: [list, watch]
- apiGroups: ["gateway.solo.io"]
  resources: [routetables, virtualservices]
  verbs: [list, watch]
- apiGroups: ["getambassador.io"]
  resources: [mappings, tcpmappings]
  verbs: [list, watch]
- apiGroups: ["ingress.haproxy.org"]
  resources: [tcps]
  verbs: [list, watch]
- apiGroups: ["k8s.cni.cncf.io"]
  resources: [multinetworkpolicies]
  verbs: [list, watch]
- apiGroups: ["k8s.nginx.org"]
  resources: [transportservers, virtualserverroutes, virtualservers]
  verbs: [list, watch]
- apiGroups: ["k8s.ovn.org"]
  resources: [egressfirewalls]
  verbs: [list, watch]
- apiGroups: ["kuma.io"]
  resources: [meshtrafficpermissions]
  verbs: [list, watch]
- apiGroups: ["network.openshift.io"]
  resources: [egressnetworkpolicies]
  verbs: [list, watch]
- apiGroups: ["networking.gke.io"]
  resources: [fqdnnetworkpolicies]
  verbs: [list, watch]
- apiGroups: ["networking.istio.io"]
  resources: [sidecars, virtualservices]
  verbs: [list, watch]
- apiGroups: ["networking.k8s.aws"]
  resources: [applicationnetworkpolicies, clusternetworkpolicies]
  verbs: [list, watch]
- apiGroups: ["networking.k8s.io"]
  resources: [ingresses, networkpolicies]
  verbs: [list, watch]
- apiGroups: ["policy.linkerd.io"]
  resources: [authorizationpolicies, serverauthorizations]
  verbs: [list, watch]
- apiGroups: ["policy.networking.k8s.io"]
  resources: [adminnetworkpolicies, baselineadminnetworkpolicies, clusternetworkpolicies]
  verbs: [list, watch]
- apiGroups: ["projectcalico.org"]
  resources: [globalnetworkpolicies, networkpolicies, tiers]
  verbs: [list, watch]
- apiGroups: ["projectcontour.io"]
  resources: [httpproxies]
  verbs: [list, watch]
- apiGroups: ["route.openshift.io"]
  resources: [routes]
  verbs: [list, watch]
- apiGroups: ["security.istio.io"]
  resources: [authorizationpolicies, peerauthentications]
  verbs: [list, watch]
- apiGroups: ["traefik.containo.us"]
  resources: [ingressroutes, ingressroutetcps, ingressrouteudps]
  verbs: [list, watch]
- apiGroups: ["traefik.io"]
  resources: [ingressroutes, ingressroutetcps, ingressrouteudps]
  verbs: [list, watch]
- apiGroups: ["voyager.appscode.com"]
  resources: [ingresses]
  verbs: [list, watch]
- apiGroups: ["x.getambassador.io"]
  resources: [ambassadormappings]
  verbs: [list, watch]
- apiGroups: ["zalando.org"]
  resources: [routegroups]
  verbs: [list, watch]
{{- end -}}
