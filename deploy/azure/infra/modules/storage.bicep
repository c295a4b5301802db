// The storage account with the queues, and who may use them.
param location string
param tags object
param name string

@description('Object id of the identity of bridge and API.')
param bridgeId string

@description('Object id of Odoo\'s identity. Empty: none.')
param odooId string

param allowSharedKey bool

@description('How many copies of the messages there are, and where.')
param sku string

// The names are those of bridge/contract/payloads.py.
var eventQueues = [
  'manychat-contact-queue'
  'manychat-campaign-queue'
  'manychat-crm-opportunities-queue'
  'odoo-decision-queue'
]
var deadLetterQueue = 'dead-letter-queue'
// People of whom ManyChat must get something. No scale rule: all bridges together make only so many calls a second.
var outboundQueue = 'manychat-outbound-queue'

var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
// Odoo puts messages on the queues and reads their lengths. It receives none.
var odooRoles = [
  'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a' // Storage Queue Data Message Sender
  '19e7f393-937e-4f77-808e-94535e297925' // Storage Queue Data Reader
]

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: allowSharedKey
    defaultToOAuthAuthentication: true
    // Odoo is outside Azure's networks. Without a key or a role the account gives nothing away.
    publicNetworkAccess: 'Enabled'
  }

  resource service 'queueServices' = {
    name: 'default'

    resource queues 'queues' = [for queue in concat(eventQueues, [outboundQueue, deadLetterQueue]): { name: queue }]
  }
}

resource bridge 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, bridgeId, queueDataContributor)
  properties: {
    principalId: bridgeId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
  }
}

resource odoo 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in odooRoles: if (!empty(odooId)) {
    scope: account
    name: guid(account.id, odooId, role)
    properties: {
      principalId: odooId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

output id string = account.id
output name string = account.name
// Without the slash at its end.
output queueAccountUrl string = 'https://${account.name}.queue.${environment().suffixes.storage}'
output eventQueues array = eventQueues
