// The Container Apps: bridges that KEDA scales, the API, and the jobs.
param location string
param tags object
param environmentName string

@description('Resource id and client id of the identity of all containers.')
param identityId string
param clientId string

param registryServer string
param storageName string
param queueAccountUrl string

@description('Names of the queues that carry events.')
param queues array

param databaseUrl string
param odooUrl string
param odooDatabase string

@description('Address of the secret in the key vault.')
param odooApiKeyUri string

@description('The same of the token of ManyChat. Empty: nothing goes back to ManyChat.')
param manychatApiTokenUri string

param bridgeImage string
param apiImage string
param maxBridges int

@description('Addresses from which the API is reached. Empty: only from its environment.')
param apiAllowedAddresses array

// Messages for each bridge. One bridge applies about as many in a second.
var messagesForEachBridge = 200
var metricsPort = 9464
var apiPort = 8000

var identities = { type: 'UserAssigned', userAssignedIdentities: { '${identityId}': {} } }
var registries = [{ server: registryServer, identity: identityId }]
var secrets = [{ name: 'odoo-api-key', keyVaultUrl: odooApiKeyUri, identity: identityId }]
// Of the bridges only: nothing else calls ManyChat.
var manychatSecrets = empty(manychatApiTokenUri)
  ? []
  : [{ name: 'manychat-api-token', keyVaultUrl: manychatApiTokenUri, identity: identityId }]
var manychatSettings = empty(manychatApiTokenUri)
  ? []
  : [{ name: 'BRIDGE_MANYCHAT_API_TOKEN', secretRef: 'manychat-api-token' }]
// What each command needs. AZURE_CLIENT_ID chooses the identity for the queues; the database's is in its URL.
var settings = [
  { name: 'AZURE_CLIENT_ID', value: clientId }
  { name: 'BRIDGE_QUEUE_ACCOUNT_URL', value: queueAccountUrl }
  { name: 'BRIDGE_DATABASE_URL', value: databaseUrl }
  { name: 'BRIDGE_ODOO_URL', value: odooUrl }
  { name: 'BRIDGE_ODOO_DATABASE', value: odooDatabase }
  { name: 'BRIDGE_ODOO_API_KEY', secretRef: 'odoo-api-key' }
  { name: 'BRIDGE_LOG_FORMAT', value: 'json' }
]

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-miasalud-${environmentName}'
  location: location
  tags: tags
  properties: { sku: { name: 'PerGB2018' }, retentionInDays: 30 }
}

resource environment 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: 'cae-miasalud-${environmentName}'
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: workspace.properties.customerId
        sharedKey: workspace.listKeys().primarySharedKey
      }
    }
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
  }
}

resource bridge 'Microsoft.App/containerApps@2025-01-01' = {
  name: 'ca-bridge-${environmentName}'
  location: location
  tags: union(tags, { 'azd-service-name': 'bridge' })
  identity: identities
  properties: {
    environmentId: environment.id
    workloadProfileName: 'Consumption'
    configuration: {
      // The revision before goes on until the new one answers its probes.
      activeRevisionsMode: 'Single'
      registries: registries
      secrets: concat(secrets, manychatSecrets)
    }
    template: {
      // A stop finishes the batches in hand. One request to Odoo takes 60 seconds at most.
      terminationGracePeriodSeconds: 90
      containers: [
        {
          name: 'bridge'
          image: bridgeImage
          args: ['run']
          resources: { cpu: json('0.5'), memory: '1Gi' }
          env: concat(settings, manychatSettings, [
            // For the probes: the port has no ingress.
            { name: 'BRIDGE_METRICS_HOST', value: '0.0.0.0' }
            { name: 'BRIDGE_METRICS_PORT', value: string(metricsPort) }
          ])
          probes: [
            {
              type: 'Startup'
              httpGet: { path: '/health', port: metricsPort }
              periodSeconds: 5
              failureThreshold: 30
            }
            {
              // 503 while a consumer stands still. An outage of Odoo, SQL or the queue is not its fault: it waits.
              type: 'Liveness'
              httpGet: { path: '/health', port: metricsPort }
              periodSeconds: 15
              failureThreshold: 4
              timeoutSeconds: 5
            }
            {
              type: 'Readiness'
              httpGet: { path: '/health', port: metricsPort }
              // A bridge whose tables are of another version ends before that.
              initialDelaySeconds: 15
              periodSeconds: 10
              timeoutSeconds: 5
            }
          ]
        }
      ]
      scale: {
        // One always runs: it also reports to Odoo, and brings back what people decided there.
        minReplicas: 1
        maxReplicas: maxBridges
        rules: [
          for queue in queues: {
            name: queue
            azureQueue: {
              accountName: storageName
              queueName: queue
              queueLength: messagesForEachBridge
              identity: identityId
            }
          }
        ]
      }
    }
  }
}

resource api 'Microsoft.App/containerApps@2025-01-01' = {
  name: 'ca-api-${environmentName}'
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  identity: identities
  properties: {
    environmentId: environment.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      registries: registries
      secrets: secrets
      ingress: {
        external: !empty(apiAllowedAddresses)
        targetPort: apiPort
        transport: 'http'
        allowInsecure: false
        ipSecurityRestrictions: [
          for (address, index) in apiAllowedAddresses: {
            name: 'allowed-${index}'
            action: 'Allow'
            ipAddressRange: trim(address)
          }
        ]
      }
    }
    template: {
      terminationGracePeriodSeconds: 30
      containers: [
        {
          name: 'api'
          image: apiImage
          args: ['api']
          resources: { cpu: json('0.5'), memory: '1Gi' }
          env: concat(settings, [
            { name: 'BRIDGE_API_HOST', value: '0.0.0.0' }
            { name: 'BRIDGE_API_PORT', value: string(apiPort) }
            { name: 'BRIDGE_API_KEYS_FILE', value: '/home/bridge/kept/api-keys.json' }
            // The ingress, in a private network, says who calls: wrong keys then block their sender only.
            { name: 'FORWARDED_ALLOW_IPS', value: '10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,127.0.0.1' }
          ])
          probes: [
            {
              type: 'Liveness'
              httpGet: { path: '/health', port: apiPort }
              initialDelaySeconds: 10
              periodSeconds: 15
              failureThreshold: 4
              timeoutSeconds: 5
            }
            {
              // Not the report on the dependencies: the webhooks also work while SQL and Odoo are down.
              type: 'Readiness'
              httpGet: { path: '/health', port: apiPort }
              periodSeconds: 5
              failureThreshold: 12
            }
          ]
        }
      ]
      scale: {
        // The webhooks are the standby while Odoo is down: two, so that one may be restarted.
        minReplicas: 2
        maxReplicas: 4
        rules: [{ name: 'requests', http: { metadata: { concurrentRequests: '50' } } }]
      }
    }
  }
}

// Upgrades the tables. Started by each release (release-jobs.sh).
module upgrade 'job.bicep' = {
  name: 'job-upgrade'
  params: {
    location: location
    tags: tags
    name: 'job-upgrade-${environmentName}'
    container: 'upgrade'
    environmentId: environment.id
    identities: identities
    registries: registries
    secrets: secrets
    settings: settings
    image: bridgeImage
    arguments: ['db', 'upgrade']
    timeoutSeconds: 3600
  }
}

// Removes what was settled long ago.
module purge 'job.bicep' = {
  name: 'job-purge'
  params: {
    location: location
    tags: tags
    name: 'job-purge-${environmentName}'
    container: 'purge'
    environmentId: environment.id
    identities: identities
    registries: registries
    secrets: secrets
    settings: settings
    image: bridgeImage
    arguments: ['purge', '--older-than', '90d', '--yes']
    schedule: '30 3 * * *'
    timeoutSeconds: 3600
  }
}

// Writes the health report into the log. The alerts about queue lengths, lag and standing still read it there: Azure
// measures the length of a queue once an hour, and the age of its messages never.
module watch 'job.bicep' = {
  name: 'job-watch'
  params: {
    location: location
    tags: tags
    name: 'job-watch-${environmentName}'
    container: 'watch'
    environmentId: environment.id
    identities: identities
    registries: registries
    secrets: secrets
    settings: settings
    image: bridgeImage
    arguments: ['status', '--json']
    schedule: '*/5 * * * *'
    timeoutSeconds: 120
  }
}

output workspaceId string = workspace.id
output bridgeId string = bridge.id
output apiId string = api.id
output apiUrl string = 'https://${api.properties.configuration.ingress.fqdn}'
output upgradeJob string = upgrade.outputs.name
output otherJobs array = [purge.outputs.name, watch.outputs.name]
